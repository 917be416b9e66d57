# SPDX-License-Identifier: Apache-2.0
"""A run from before the packages were reorganized: it opens, evaluates, exports, reports and resumes."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from jax import export as jax_export
from PIL import Image

from adaptface_jax.embed import __main__ as embed
from adaptface_jax.evaluate import __main__ as evaluate
from adaptface_jax.export import __main__ as export
from adaptface_jax.report import __main__ as report
from adaptface_jax.train import __main__ as train
from tests.children import ran
from tests.made_models import relative
from tests.running import call

FACES = "synthetic:identities=10,images=8,seed=2,pairs=300"
# As it was trained: eight steps, checkpoints at 4 and 8.
COMMAND = (
    f"--config={Path(__file__).resolve().parents[1] / 'configs' / 'demo.py'}",
    "--config.adapter.rank=2", "--config.backbone.image_size=28", "--config.head.embedding_dim=16",
    "--config.train.batch_size=16", "--config.train.steps=8", "--config.train.log_every=1",
    "--config.train.learning_rate=1e-3",
    "--config.checkpoint.every_steps=4", "--config.checkpoint.keep=2",
    "--config.data.train=synthetic:identities=8,images=8,seed=1", "--config.eval.every_epochs=0",
    f"--benchmark=faces={FACES}",
)  # fmt: skip
PEOPLE = "synthetic:identities=10,images=8,seed=2"
ROUNDING = 1e-5  # from another processor, or the same sums in another order

# NumPy and OpenBLAS round otherwise with AVX-512: of the 3 million values of these faces, 8 are one level off.
DRAW = """
import sys
import numpy as np
from adaptface_jax.data.decode import decode
from adaptface_jax.data.sources.from_path import open_source
source = open_source(sys.argv[1])
np.save(sys.argv[2], np.stack([decode(source[number].image, "made") for number in range(len(source))]))
"""


@pytest.fixture(scope="session")
def people(tmp_path_factory) -> np.ndarray:
    """The faces that it was verified on as its processor drew them, one with AVX2: uint8 [80, 112, 112, 3]."""
    file = tmp_path_factory.mktemp("people") / "faces.npy"
    more = [name for name in np._core._multiarray_umath.__cpu_dispatch__ if name.startswith(("AVX512", "X86_V4"))]
    environment = os.environ | {"OPENBLAS_CORETYPE": "Haswell", "NPY_DISABLE_CPU_FEATURES": " ".join(more)}
    done = ran(sys.executable, "-c", DRAW, PEOPLE, file, env=environment)
    assert done.status == 0, done.error
    return np.load(file)


@pytest.fixture(scope="session")
def outputs(goldens) -> dict[str, np.ndarray]:
    """Outputs of the version that trained it: embeddings of twelve faces, and every 97th value of its exports."""
    return safetensors.numpy.load_file(goldens / "run_before_layout.safetensors")


@pytest.fixture
def run(goldens, tmp_path) -> Path:
    return Path(shutil.copytree(goldens / "run_before_layout", tmp_path / "run"))


@pytest.fixture(scope="session")
def pairs(goldens, people, tmp_path_factory) -> Path:
    """The pairs that it was verified on: later versions draw others from the same images."""
    folder = tmp_path_factory.mktemp("pairs")
    for number, face in enumerate(people):
        Image.fromarray(face).save(folder / f"{number:02}.png")
    with np.load(goldens / "run_before_layout" / "scores" / "faces.npz") as kept:
        rows = zip(kept["faces/index"].reshape(-1, 2), kept["faces/issame"], strict=True)
        (folder / "pairs.csv").write_text("".join(f"{a:02}.png,{b:02}.png,{same:d}\n" for (a, b), same in rows))
    return folder


@pytest.fixture(scope="session")
def faces(people) -> np.ndarray:
    """The first twelve of those images, uint8 [12, 112, 112, 3]."""
    return people[:12]


def test_it_evaluates_to_its_own_metrics(run, pairs, tmp_path):
    written = f"--output={tmp_path / 'found.json'}", f"--scores={tmp_path / 'found.npz'}"
    assert call(evaluate, f"--run={run}", f"--benchmark=faces={pairs}", *written) == 0
    found = json.loads((tmp_path / "found.json").read_text())["benchmarks"]["faces"]
    kept = json.loads((run / "results.json").read_text())["benchmarks"]["faces"]
    for name in ("accuracy", "accuracy_std", "fold_accuracies", "threshold", "best_threshold_accuracy", "pairs"):
        assert found[name] == pytest.approx(kept[name], abs=1e-6)
    for name in ("auc", "eer"):  # one pair more or less, if two distances are nearly equal
        assert found[name] == pytest.approx(kept[name], abs=1e-4)
    with np.load(tmp_path / "found.npz") as scores, np.load(run / "scores" / "faces.npz") as before:
        np.testing.assert_array_equal(scores["faces/accepted"], before["faces/accepted"])
        np.testing.assert_allclose(scores["faces/distance"], before["faces/distance"], atol=ROUNDING)


def test_it_embeds_to_the_same_numbers(run, faces, outputs, tmp_path):
    (tmp_path / "faces").mkdir()
    for number, face in enumerate(faces):
        Image.fromarray(face).save(tmp_path / "faces" / f"{number:02}.png")
    assert call(embed, f"--run={run}", f"--images={tmp_path / 'faces'}", f"--out={tmp_path / 'found.npz'}") == 0
    with np.load(tmp_path / "found.npz") as found:
        assert relative(found["embeddings"], outputs["embed:embeddings"]) < ROUNDING
        assert relative(found["gates"], outputs["embed:gates"]) < ROUNDING


@pytest.mark.parametrize(("form", "words"), [("merged", ["--mix=0.5,0.3,0.2"]), ("peft", [])])
def test_it_exports_to_the_same_weights(run, outputs, tmp_path, form, words):
    out = tmp_path / form
    assert call(export, f"--run={run}", f"--format={form}", f"--out={out}", *words) == 0
    found = {
        f"{form}/{file.relative_to(out).as_posix()}:{name}": value.ravel()[::97]
        for file in out.rglob("*.safetensors")
        for name, value in safetensors.numpy.load_file(file).items()
    }
    assert found.keys() == {name for name in outputs if name.startswith(f"{form}/")}
    for name, values in found.items():
        # PEFT's factors are the run's own values; merging multiplies and adds.
        np.testing.assert_allclose(values, outputs[name], rtol=0, atol=1e-6 if form == "merged" else 0, err_msg=name)


def test_it_exports_to_a_graph_of_the_same_outputs(run, faces, outputs, tmp_path):
    out = tmp_path / "stablehlo"
    assert call(export, f"--run={run}", "--format=stablehlo", f"--out={out}") == 0
    found = jax_export.deserialize(bytearray((out / "model.stablehlo").read_bytes())).call(faces)
    assert found.keys() == {"embedding", "gates"}
    for name, values in found.items():
        assert relative(values, outputs[f"stablehlo:{name}"]) < ROUNDING


def test_its_report_is_written(run, tmp_path):
    assert call(report, run, f"--out={tmp_path / 'pages'}") == 0
    page = (tmp_path / "pages" / "run.html").read_text()
    assert "65.67" in page and "builtin" in page and page.count("<svg ") >= 4


def losses(workdir: Path) -> dict[int, float]:
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return {row["step"]: row["train/loss"] for row in rows if "train/loss" in row}


def stopped_after_4(run: Path) -> None:
    """As if its training had stopped there."""
    shutil.rmtree(run / "checkpoints" / "8")
    (run / "results.json").unlink()
    lines = (run / "metrics.jsonl").read_text().splitlines(True)
    (run / "metrics.jsonl").write_text("".join(line for line in lines if json.loads(line)["step"] <= 4))


def test_it_resumes_with_the_losses_it_had(run, goldens, capsys):
    stopped_after_4(run)
    assert max(losses(run)) == 4
    assert call(train, *COMMAND, f"--workdir={run}") == 0
    out = capsys.readouterr().out
    assert "resuming from step 4 of 8" in out and "different settings" not in out
    found, before = losses(run), losses(goldens / "run_before_layout")
    assert list(found) == list(before) == list(range(1, 9))
    np.testing.assert_allclose(list(found.values()), list(before.values()), rtol=1e-4)
    assert (run / "results.json").exists() and (run / "checkpoints" / "8").is_dir()


def without(run: Path, *names: str) -> None:
    """The record as written by a version without these settings."""
    record = json.loads((run / "run.json").read_text())
    for name in names:
        section, _, leaf = name.partition(".")
        if leaf:
            del record["config"][section][leaf]
        else:
            del record["config"][section]
    (run / "run.json").write_text(json.dumps(record))


def test_settings_unknown_to_its_version_are_not_a_difference(run):
    without(run, "train.unroll", "adapter.use_rslora", "augment")
    assert call(train, *COMMAND, f"--workdir={run}", "--dry_run") == 0


def test_settings_unknown_to_its_version_had_their_defaults(run, capsys):
    without(run, "adapter.domain_loss_weight")
    assert call(train, *COMMAND, f"--workdir={run}", "--dry_run") == 2
    assert "(config.adapter.domain_loss_weight was 0.1, now 1.0)" in capsys.readouterr().err
