"""`python -m adaptface_jax.export` as it is typed: what it prints, writes and refuses."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import safetensors.numpy

from adaptface_jax.export import __main__ as export
from adaptface_jax.training.run import RUN_FILE
from tests.children import PATIENCE
from tests.running import call

FACES = "synthetic:identities=2,images=3,seed=1"


def test_peft_is_written_whole_and_in_float32(workdirs, tmp_path, capsys):
    assert call(export, f"--run={workdirs / 'lora'}", "--format=peft", f"--out={tmp_path / 'a' / 'peft'}") == 0
    out = capsys.readouterr().out
    assert "step 7" in out and "32 tensors, modules named as in v5" in out and "head.safetensors" in out
    tensors = safetensors.numpy.load_file(tmp_path / "a" / "peft" / "adapter_model.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {np.dtype(np.float32)}
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["peft"]
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "a" / "peft").iterdir()}
    assert len(modes) == 1


def test_a_frozen_tree_in_bfloat16_is_exported_from_its_float32_source(workdirs, tmp_path):
    assert call(export, f"--run={workdirs / 'none'}", "--format=merged", f"--out={tmp_path / 'merged'}") == 0
    name = "encoder.layer.3.mlp.fc1.weight"
    ours = safetensors.numpy.load_file(tmp_path / "merged" / "model.safetensors")[name]
    np.testing.assert_array_equal(ours, safetensors.numpy.load_file(workdirs / "published" / "model.safetensors")[name])


def test_a_run_on_weights_of_8_bits_is_exported_with_the_exact_ones(workdirs, tmp_path, capsys):
    run = shutil.copytree(workdirs / "none", tmp_path / "run")
    record = json.loads((run / RUN_FILE).read_text())
    record["config"]["backbone"]["quantize"] = "int8"
    (run / RUN_FILE).write_text(json.dumps(record))
    assert call(export, f"--run={run}", "--format=merged", f"--out={tmp_path / 'merged'}") == 0
    assert (
        "weights: the backbone's own; the run and its metrics are of those quantized to int8" in capsys.readouterr().out
    )
    name = "encoder.layer.3.mlp.fc1.weight"
    ours = safetensors.numpy.load_file(tmp_path / "merged" / "model.safetensors")[name]
    np.testing.assert_array_equal(ours, safetensors.numpy.load_file(workdirs / "published" / "model.safetensors")[name])


def test_merged_reports_what_a_mixture_loses(workdirs, tmp_path, capsys):
    words = (f"--run={workdirs / 'dalora'}", "--format=merged", f"--out={tmp_path / 'm'}")
    assert call(export, *words, "--mix=mean", f"--data={FACES}") == 0
    out = capsys.readouterr().out
    assert "per-image gates are lost" in out and "over 6 images" in out and "on average" in out
    mix = json.loads((tmp_path / "m" / "export.json").read_text())["mix"]
    assert len(mix) == 3 and sum(mix) == pytest.approx(1)
    assert "Lost: the gates" in (tmp_path / "m" / "README.md").read_text()


def test_an_existing_folder_is_replaced_only_with_overwrite(workdirs, tmp_path, capsys):
    out = tmp_path / "peft"
    words = (f"--run={workdirs / 'lora'}", "--format=peft", f"--out={out}")
    assert call(export, *words) == 0
    assert call(export, *words) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert call(export, *words, "--layout=v4", "--overwrite") == 0
    assert "attention.attention.query" in json.loads((out / "adapter_config.json").read_text())["target_modules"]
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").write_text("years of work")
    assert call(export, *words[:2], f"--out={tmp_path / 'thesis'}", "--overwrite") == 2
    assert (tmp_path / "thesis" / "thesis.tex").exists()


@pytest.mark.parametrize(
    ("kind", "words", "expected"),
    [
        ("lora", ["--format=merged", "--layout=v4"], "--layout: belongs to --format=peft"),
        ("lora", ["--format=peft", "--mix=1,0,0"], "--mix: belongs to --format=merged"),
        ("lora", ["--format=peft", "--preprocess"], "--preprocess: belongs to --format=stablehlo and onnx"),
        ("lora", ["--format=merged", "--input_size=112"], "--input_size"),
        ("lora", ["--format=onnx", "--no-preprocess", "--input_size=112"], "--input_size"),
        ("lora", ["--format=merged", "--with_base"], "--with_base: belongs to --format=peft"),
        ("lora", ["--format=merged", "--weights=builtin"], "--weights"),
        ("lora", ["--format=base", "--image_size=28"], "--image_size"),
        ("lora", ["--format=peft", "--push_to_hub=a/b/c"], "--push_to_hub: 'a/b/c' is not a repository"),
        ("lora", ["--format=torchscript"], "--format"),
        ("lora", ["--format=peft", "--layout=v3"], "--layout"),
        ("lora", ["--format=peft", "--checkpoint=8"], "--checkpoint"),
        ("lora", ["--format=merged", "--mix=1"], "adapter.kind=lora"),
        ("none", ["--format=peft"], "--format=merged"),
        ("dalora", ["--format=merged"], "--mix"),
        ("dalora", ["--format=merged", "--mix=1,1,1"], "sums to 3"),
        ("dalora", ["--format=merged", "--mix=mean"], "--data"),
        ("dalora", ["--format=merged", "--mix=mean", "--data=/nowhere"], "/nowhere"),
        ("nothing", ["--format=peft"], "contains no run"),
    ],
)
def test_bad_input_gives_one_line_status_2_and_nothing_written(workdirs, kind, words, expected, tmp_path, capsys):
    assert call(export, f"--run={workdirs / kind}", f"--out={tmp_path / 'out'}", *words) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and expected in error and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--format=merged", "--weights=builtin"], "--weights: belongs to --format=base"),
        (["--format=base", "--weights=builtin", "--image_size=30"], "--image_size: 30 is not a multiple"),
        (["--format=base", "--weights=builtin", "--checkpoint=7"], "--checkpoint: builtin is not a run"),
        (["--format=base", "--weights=/nowhere.pth"], "/nowhere.pth: no such file"),
        (["--format=base"], "--run --weights"),
    ],
)
def test_a_backbone_without_a_run_is_exported_by_its_own_words(words, expected, tmp_path, capsys):
    assert call(export, f"--out={tmp_path / 'out'}", *words) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and expected in error and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_the_module_is_a_command():
    result = subprocess.run(
        [sys.executable, "-m", "adaptface_jax.export", "--help"],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert result.returncode == 0 and "--mix" in result.stdout and result.stderr == ""
