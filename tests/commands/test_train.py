# SPDX-License-Identifier: Apache-2.0
"""The commands on a small run: what they print, write, refuse and resume."""

from __future__ import annotations

import contextlib
import io
import json
import pkgutil
import shutil
import signal
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import pytest
from PIL import Image

from adaptface_jax.classify import __main__ as classify
from adaptface_jax.config import overrides
from adaptface_jax.config.classification import ClassificationConfig
from adaptface_jax.config.schema import Config
from adaptface_jax.core.files import locked
from adaptface_jax.core.progress import going_on
from adaptface_jax.distributed.mesh import make_mesh
from adaptface_jax.embed import __main__ as embed
from adaptface_jax.evaluate import __main__ as evaluate
from adaptface_jax.train import __main__ as train
from adaptface_jax.train import work as train_work
from adaptface_jax.training import plan
from adaptface_jax.training.checkpoint import CHECKPOINTS, Checkpoints
from adaptface_jax.training.monitor import read_metrics
from adaptface_jax.training.recognition.run import open_run
from tests.running import call, write_config

SETTINGS = {
    "data.train": "synthetic:identities=4,images=12,seed=1",
    "data.benchmarks": {"faces": "synthetic:identities=4,images=6,seed=2,pairs=20"},
    "data.threads": 0,
    "eval.batch_size": 32,
    "eval.every_epochs": 2,
    "train.batch_size": 16,
    "train.epochs": 4,
    "train.learning_rate": 1e-3,
    "train.log_every": 2,
    "checkpoint.every_steps": 5,
}


TIMES = ("train/images_per_second", "train/data_wait")


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Path:
    return write_config(tmp_path_factory.mktemp("configs") / "small.py", SETTINGS)


class Told(NamedTuple):
    """What a run printed, and the current activity whenever something long-running was called, by its name."""

    printed: str
    during: dict[str, str]


# Where the time of a run goes.
LONG = {
    "opening data": ("adaptface_jax.training.recognition.plan", "open_training"),
    "opening benchmarks": ("adaptface_jax.training.recognition.plan", "open_benchmark"),
    "building": ("adaptface_jax.training.recognition.plan", "build_model"),
    "embedding": ("adaptface_jax.evaluation.embedding", "fetch"),
    "pixels": ("adaptface_jax.evaluation.baselines", "raw_pixels"),
    "judging": ("adaptface_jax.evaluation.evaluator", "judged_benchmark"),
    "reading": ("adaptface_jax.training.plan", "batches"),
    "compiling": ("adaptface_jax.training.stopping.StopSignals", "in_background"),
    "curves": ("adaptface_jax.evaluation.tensorboard", "curves"),
    "testing": ("adaptface_jax.train.work", "changes"),
    "page": ("adaptface_jax.train.work", "run_page"),
}  # fmt: skip


@pytest.fixture(scope="module")
def told_run(config, tmp_path_factory) -> tuple[Path, Told]:
    """A finished run of 12 steps: 3 per epoch, 2 evaluations; and the progress it reported."""
    workdir = tmp_path_factory.mktemp("runs") / "whole"
    told = Told("", {})

    def watched(name, function):
        def inner(*words, **named):
            activity = going_on()
            told.during[name] = activity.now() if activity else ""
            return function(*words, **named)

        return inner

    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as printed:
        for name, (place, attribute) in LONG.items():
            owner = pkgutil.resolve_name(place)
            patch.setattr(owner, attribute, watched(name, getattr(owner, attribute)))
        assert call(train, f"--config={config}", f"--workdir={workdir}") == 0
    return workdir, told._replace(printed=printed.getvalue())


@pytest.fixture(scope="module")
def run(told_run) -> Path:
    return told_run[0]


def test_whatever_takes_long_reports_progress(told_run):
    """By the activity current at the call, not by a clock: it is reported again every few seconds."""
    _, told = told_run
    assert told.during.keys() == LONG.keys() and all(told.during.values())
    lines = [line for line in told.printed.splitlines() if line.endswith(" ...")]
    assert lines == [
        "opening data, model and benchmarks ...",
        "evaluating the frozen backbone and raw pixels on faces; then training ...",
        "compiling the training step; then 12 steps of 16 images ...",
        "testing against the frozen backbone, writing the report ...",
    ]


def final_state(workdir: Path):
    """The last checkpoint's trainable leaves."""
    model, step = open_run(workdir, "latest", make_mesh())
    return step, [np.asarray(leaf) for leaf in jax.tree.leaves(model.trainable)]


def test_evaluate_shows_the_frozen_backbone_next_to_the_run_in_80_columns(run, capsys):
    spec = SETTINGS["data.benchmarks"]["faces"]
    assert call(evaluate, f"--run={run}", "--checkpoint=latest", f"--benchmark=faces={spec}") == 0
    table = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    results = json.loads((run / "results.json").read_text())
    shown = [results[kind]["faces"]["accuracy"] for kind in ("benchmarks", "frozen")]
    assert [cell.strip() for cell in table[2].split("|")[3:7:3]] == [f"{100 * value:.2f}%" for value in shown]
    assert len(table) == 2 + 1 + 6, "titles, the benchmark and every two conditions"
    assert max(map(len, table)) <= 80
    # Another path may be another benchmark.
    other = f"--benchmark=faces={spec.replace('seed=2', 'seed=3')}"
    assert call(evaluate, f"--run={run}", "--checkpoint=latest", other, "--wide") == 0
    wide = capsys.readouterr().out
    assert "best-threshold accuracy" in wide and "frozen" not in wide and "faces by condition" in wide


def test_a_run_writes_its_records(run):
    results = json.loads((run / "results.json").read_text())
    assert set(results["benchmarks"]) == set(results["frozen"]) == set(results["pixels"]) == {"faces"}
    entry = results["benchmarks"]["faces"]
    assert 0 <= entry["accuracy"] <= 1 and set(entry["domains"]) == {"pose", "age", "light"}
    assert [(cell["first"], cell["second"]) for cell in entry["cells"]][:3] == [
        ("pose", "pose"), ("pose", "age"), ("pose", "light")
    ]  # fmt: skip
    assert set(entry["gates"]["mean"]) == {"pose", "age", "light"}
    page = (run / "results.md").read_text()
    assert "pixels" in page and "frozen" in page and "gate" in page
    assert list(run.glob("events.out.tfevents.*")) and (run / "run.json").exists()


def test_every_scalar_is_in_metrics_jsonl(run):
    rows = read_metrics(run)
    tags = {tag for row in rows for tag in row}
    assert {
        "train/loss", "train/learning_rate", "train/images_per_second", "train/grad_norm", "train/grad_norm/adapter",
        "train/param_norm/adapter", "train/target_cosine", "train/gate/mean_0", "train/gate/entropy",
        "train/gate/balance", "eval/faces/accuracy", "eval/faces/auc", "eval/faces/gate/entropy",
        "frozen/faces/accuracy",
    } <= tags  # fmt: skip
    assert [row["step"] for row in rows if "train/loss" in row] == [1, 2, 4, 6, 8, 10, 12]
    assert [row["step"] for row in rows if "eval/faces/accuracy" in row] == [6, 12]


def test_the_first_loss_is_the_expected_one(config, tmp_path, capsys):
    assert call(train, f"--config={config}", f"--workdir={tmp_path / 'run'}", "--config.train.steps=1") == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("first loss"))
    observed, mean, std = (float(word.strip(",")) for word in line.split()[2::2][:1] + line.split()[4:7:2])
    assert abs(observed - mean) <= 3 * std and "<-" not in line


def test_a_dry_run_prints_the_header_and_writes_nothing(config, tmp_path, capsys):
    workdir = tmp_path / "run"
    words = ("--config.train.fsdp=8", "--config.backbone.quantize=int8", "--dry_run")
    assert call(train, f"--config={config}", f"--workdir={workdir}", *words) == 0
    out = capsys.readouterr().out
    assert "RANDOM WEIGHTS" in out and "trainable" in out and "%" in out and "the first should be" in out
    held = next(line for line in out.splitlines() if line.startswith("frozen"))
    assert "with the kernels of its blocks in 8 bits, its blocks split over 8 devices; " in held
    assert "48 images, 4 identities" in out and "faces: 20 pairs" in out
    assert not workdir.exists()


@pytest.fixture
def stopping(monkeypatch):
    """Makes the training data raise a signal while a given step's batch is read."""

    def arm(after: int, number: int) -> None:
        real = plan.batches

        def batches(*args, **kwargs):
            for i, batch in enumerate(real(*args, **kwargs), 1):
                if i == after:
                    signal.raise_signal(number)
                yield batch

        monkeypatch.setattr(plan, "batches", batches)

    return arm


def test_a_run_stopped_twice_resumes_exactly(config, run, tmp_path, monkeypatch, stopping, capsys):
    workdir, command = tmp_path / "run", (f"--config={config}", f"--workdir={tmp_path / 'run'}")
    for number, steps, step in ((signal.SIGINT, 4, 4), (signal.SIGTERM, 3, 7)):
        stopping(after=steps, number=number)
        assert call(train, *command) == 75
        assert f"stopped by {number.name} after step {step}" in capsys.readouterr().err
        monkeypatch.undo()
    assert call(train, *command) == 0
    assert "resuming from step 7 of 12" in capsys.readouterr().out
    (step, stopped), (_, whole) = final_state(workdir), final_state(run)
    assert step == 12 and all(np.array_equal(a, b) for a, b in zip(stopped, whole, strict=True))
    losses = [(row["step"], row["train/loss"]) for row in read_metrics(workdir) if "train/loss" in row]
    expected = [(row["step"], row["train/loss"]) for row in read_metrics(run) if "train/loss" in row]
    assert [pair for pair in losses if pair[0] > 7] == [pair for pair in expected if pair[0] > 7]
    assert len({step for step, _ in losses}) == len(losses)


@pytest.mark.slow
def test_split_classes_change_nothing_and_a_run_resumes_without_them(config, run, tmp_path, stopping, capsys):
    workdir = tmp_path / "run"
    command = (f"--config={config}", f"--workdir={workdir}")
    stopping(after=7, number=signal.SIGTERM)
    # 4 classes on 8 devices: half of them hold only padding. The frozen blocks are split too, which may change unasked.
    assert call(train, *command, "--config.train.model_parallel=8", "--config.train.fsdp=8") == 75
    stopping(after=0, number=signal.SIGTERM)
    assert call(train, *command, "--override_resume") == 0
    assert "resuming from step 7 of 12" in capsys.readouterr().out
    (_, found), (_, whole) = final_state(workdir), final_state(run)
    assert [leaf.shape for leaf in found] == [leaf.shape for leaf in whole]
    losses, expected = ([r["train/loss"] for r in read_metrics(w) if "train/loss" in r] for w in (workdir, run))
    np.testing.assert_allclose(losses[:3], expected[:3], rtol=1e-5)  # before rounding has grown
    np.testing.assert_allclose(losses[3:], expected[-len(losses) + 3 :], rtol=1e-3)


def test_a_run_stopped_during_an_evaluation_catches_up(config, run, tmp_path, capsys):
    workdir, command = tmp_path / "run", (f"--config={config}", f"--workdir={tmp_path / 'run'}")
    real = train_work.evaluate

    def evaluate(*args, **kwargs):
        result = real(*args, **kwargs)
        signal.raise_signal(signal.SIGTERM)
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_work, "evaluate", evaluate)
        assert call(train, *command) == 75
    assert "stopped by SIGTERM after step 6; a complete checkpoint is saved" in capsys.readouterr().err
    with Checkpoints(workdir / CHECKPOINTS, read_only=True) as checkpoints:
        assert (checkpoints.latest(), checkpoints.score(6)) == (6, None)
    assert call(train, *command) == 0
    (_, stopped), (_, whole) = final_state(workdir), final_state(run)
    assert all(np.array_equal(a, b) for a, b in zip(stopped, whole, strict=True))
    timeless = [{k: v for k, v in row.items() if k not in TIMES} for row in read_metrics(workdir)]
    assert timeless == [{k: v for k, v in row.items() if k not in TIMES} for row in read_metrics(run)]


def test_a_run_stopped_during_its_last_evaluation_catches_up(config, tmp_path):
    workdir = tmp_path / "run"
    command = (f"--config={config}", f"--workdir={workdir}", "--config.train.steps=2", "--config.eval.every_epochs=0")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_work, "evaluate", lambda *args: signal.raise_signal(signal.SIGTERM))
        assert call(train, *command) == 75
    assert not (workdir / "results.json").exists()
    assert call(train, *command) == 0
    (row,) = [row for row in read_metrics(workdir) if "eval/faces/accuracy" in row]
    with Checkpoints(workdir / CHECKPOINTS, read_only=True) as checkpoints:
        assert (row["step"], row["eval/faces/accuracy"]) == (2, checkpoints.score(2))
    assert (workdir / "results.json").exists() and (workdir / "results.html").exists()


def test_a_run_signaled_before_its_first_step_can_start_again(config, tmp_path, monkeypatch, capsys):
    command = (f"--config={config}", f"--workdir={tmp_path / 'run'}", "--config.train.steps=2")

    def batches(*args, **kwargs):
        signal.raise_signal(signal.SIGTERM)
        yield {}

    with monkeypatch.context() as patch:
        patch.setattr(plan, "batches", batches)
        assert call(train, *command) == 75
    with Checkpoints(tmp_path / "run" / CHECKPOINTS, read_only=True) as checkpoints:
        assert checkpoints.latest() == 0
    assert call(train, *command) == 0
    assert "resuming from step 0 of 2" in capsys.readouterr().out


def test_a_second_training_in_the_same_folder_is_refused(config, tmp_path, capsys):
    with locked(tmp_path / "run", "busy"):
        assert call(train, f"--config={config}", f"--workdir={tmp_path / 'run'}") == 2
    assert "another process is training in" in capsys.readouterr().err


@pytest.mark.slow
def test_persistent_non_finite_steps_end_the_run_with_a_report(config, tmp_path, capsys):
    workdir = tmp_path / "run"
    words = (f"--config={config}", f"--workdir={workdir}", "--config.train.max_skipped=5")
    words += ("--config.train.learning_rate=1e30", "--config.train.schedule=constant")
    assert call(train, *words) == 1
    assert "error: the evaluation after step 6 failed, the state is saved: embeddings" in capsys.readouterr().err
    assert final_state(workdir)[0] == 6
    assert call(train, *words, "--config.eval.every_epochs=0", "--override_resume") == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: train: the loss or the gradients of steps 2 to") and "not_finite.json" in error
    known = json.loads((workdir / "not_finite.json").read_text())
    assert known["first_step"] == 2 and known["last_step"] >= 6
    assert all(len(keys) == 16 for keys in known["records"].values())
    step, parameters = final_state(workdir)
    assert step >= 6 and all(np.isfinite(leaf).all() for leaf in parameters)


def test_a_finished_run_only_reports_again(run, config, capsys):
    before = (run / "results.json").read_text()
    assert call(train, f"--config={config}", f"--workdir={run}") == 0
    out = capsys.readouterr().out
    assert "first loss" not in out
    again = json.loads((run / "results.json").read_text())
    assert again["benchmarks"] == json.loads(before)["benchmarks"]
    # The last line on the terminal is the verdict, over few, generated people.
    *_, generated, headline, rests, written = filter(None, out.splitlines())
    assert "faces are synthetic" in generated and written.startswith("written: ")
    assert again["changes"]["faces"]["few"] and again["generated"] == ["faces"]
    people = f"{again['changes']['faces']['people']} people"
    assert headline == f"Too few people to say whether DA-LoRA differs from the frozen backbone: {people}."
    assert f"over 20 pairs of {people}" in rests


def test_other_settings_are_refused_and_named(run, config, capsys):
    before = sorted(path.name for path in run.iterdir())
    assert call(train, f"--config={config}", f"--workdir={run}", "--config.train.learning_rate=0.5") == 2
    error = capsys.readouterr().err
    assert "config.train.learning_rate was 0.001, now 0.5" in error and error.count("\n") == 1
    assert sorted(path.name for path in run.iterdir()) == before


def test_a_corrupted_checkpoint_is_named_and_the_previous_one_resumed(run, config, tmp_path, capsys):
    workdir = Path(shutil.copytree(run, tmp_path / "run"))
    newest = workdir / CHECKPOINTS / "12"
    file = max((path for path in newest.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    data = bytearray(file.read_bytes())
    data[len(data) // 3] ^= 1
    file.write_bytes(data)
    assert call(train, f"--config={config}", f"--workdir={workdir}") == 0
    out = capsys.readouterr().out
    assert "checkpoint 12 is not used: the content of" in out and "set aside in set_aside/12" in out
    assert "resuming from step 10 of 12" in out
    (_, again), (_, whole) = final_state(workdir), final_state(run)
    assert all(np.array_equal(a, b) for a, b in zip(again, whole, strict=True))


def test_harmless_settings_may_change_when_asked(run, config, tmp_path, capsys):
    workdir = Path(shutil.copytree(run, tmp_path / "run"))
    words = [f"--config={config}", f"--workdir={workdir}", "--config.train.epochs=5"]
    assert call(train, *words) == 2
    captured = capsys.readouterr()
    assert "allow this with --override_resume" in captured.err and captured.err.count("\n") == 1
    assert "config.train.epochs" in captured.out and "4 -> 5" in captured.out
    assert call(train, *words, "--override_resume", "--config.adapter.alpha=2") == 2
    assert "config.adapter.alpha cannot change within a run" in capsys.readouterr().err
    assert call(train, *words, "--override_resume") == 0
    assert "resuming with changed settings" in capsys.readouterr().out
    assert final_state(workdir)[0] == 15
    assert json.loads((workdir / "run.json").read_text())["config"]["train"]["epochs"] == 5


def test_fewer_epochs_than_were_trained_are_said(run, config, tmp_path, capsys):
    workdir = Path(shutil.copytree(run, tmp_path / "run"))
    words = [f"--config={config}", f"--workdir={workdir}", "--config.train.epochs=2", "--override_resume"]
    assert call(train, *words) == 0
    said = "the last checkpoint is of step 12, these settings end at 6: nothing is left to train"
    assert said in capsys.readouterr().out
    assert final_state(workdir)[0] == 12


def test_the_benchmarks_may_change_when_a_run_resumes(run, config):
    spec = "synthetic:identities=4,images=6,seed=3,pairs=20"
    assert call(train, f"--config={config}", f"--workdir={run}", f"--benchmark=other={spec}") == 0
    assert set(json.loads((run / "results.json").read_text())["benchmarks"]) == {"other"}


def test_latest_and_best_are_kept(run):
    with Checkpoints(run / CHECKPOINTS, read_only=True) as checkpoints:
        rows = {r["step"]: r["eval/faces/accuracy"] for r in read_metrics(run) if "eval/faces/accuracy" in r}
        assert checkpoints.latest() == 12
        assert rows[checkpoints.best()] == max(rows.values())


def test_evaluate_gives_the_runs_own_metrics(run, config, tmp_path, capsys):
    output = tmp_path / "figures.json"
    spec = "synthetic:identities=4,images=6,seed=2,pairs=20"
    words = (f"--run={run}", "--checkpoint=latest", f"--benchmark=faces={spec}", f"--output={output}")
    assert call(evaluate, *words) == 0
    figures = json.loads(output.read_text())["benchmarks"]["faces"]
    last = next(r for r in read_metrics(run) if r["step"] == 12 and "eval/faces/accuracy" in r)
    assert figures["accuracy"] == last["eval/faces/accuracy"]
    assert figures["auc"] == pytest.approx(last["eval/faces/auc"], abs=1e-9)
    assert "\n| faces" in capsys.readouterr().out


def test_embed_writes_embeddings_features_paths_and_gates(run, tmp_path):
    folder, out = tmp_path / "faces", tmp_path / "faces.npz"
    for name in ("b/2.png", "a/1.jpg", "0.pgm"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(len(name)).integers(0, 255, (112, 112), np.uint8)).save(path)
    assert call(embed, f"--run={run}", f"--images={folder}", f"--out={out}") == 0
    with np.load(out) as file:
        arrays = dict(file)
    assert arrays["paths"].tolist() == ["0.pgm", "a/1.jpg", "b/2.png"]
    assert arrays["embeddings"].shape == (3, 512) and arrays["gates"].shape == (3, 3)
    assert np.allclose(arrays["gates"].sum(axis=1), 1, atol=1e-6)
    assert arrays["features"].shape[0] == 3 and np.isfinite(arrays["features"]).all()
    # Raw: the head's output is not normalized.
    assert not np.allclose(np.linalg.norm(arrays["embeddings"], axis=1), 1, atol=1e-2)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--config.adapter.rnak=3"], "adapter.rank"),
        (["--config.data.train=/nowhere/at/all"], "/nowhere/at/all"),
        (["--config.data.train="], "data.train"),
        (["--config.data.train=synthetic:identities=4,color=3"], "color"),
        (["--benchmark=lfw"], "NAME=PATH"),
        (["--benchmark=lfw=/nowhere.bin"], "/nowhere.bin"),
        (["--benchmark=a=/x", "--benchmark=a=/y"], "twice"),
        (["--config.backbone.weights=/nowhere/weights"], "/nowhere/weights"),
        (["--config.train.batch_size=4096"], "4096"),
        (["--config.train.batch_size=12"], "8 devices"),
        (["--config.train.fsdp=3"], "train.fsdp: 3 does not divide the width 128 of demo"),
        (["--config.train.fsdp=16"], "train.fsdp: 16 does not divide the 8 devices"),
        (["--config.train.fsdp=2", "--config.adapter.kind=full"], "train.fsdp: is for frozen weights"),
        (["--config.backbone.quantize=int8", "--config.adapter.kind=full"], "backbone.quantize: is for frozen weights"),
        (["--config.data.max_identities=1"], "data.max_identities"),
        (["--dryrun"], "--dry_run"),
        (["extra"], "extra"),
        (["--config.seed"], "--config.seed"),
    ],
)
def test_bad_input_gives_one_line_and_status_2(config, tmp_path, capsys, words, expected):
    workdir = tmp_path / "run"
    assert call(train, f"--config={config}", f"--workdir={workdir}", *words) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and expected in error and error.count("\n") == 1
    assert not workdir.exists()


def test_one_identity_is_refused(config, tmp_path, capsys):
    (tmp_path / "faces" / "only").mkdir(parents=True)
    for i in range(20):
        Image.new("RGB", (112, 112)).save(tmp_path / "faces" / "only" / f"{i}.png")
    words = (f"--config={config}", f"--workdir={tmp_path / 'run'}", f"--config.data.train={tmp_path / 'faces'}")
    assert call(train, *words) == 2
    assert "at least 2" in capsys.readouterr().err


@pytest.mark.parametrize("module", [train, evaluate, embed])
def test_help_is_status_0_and_lists_the_settings(module, capsys):
    assert call(module, "--help") == 0
    out = capsys.readouterr().out
    assert "usage" in out and (module is not train or "adapter.rank" in out)


@pytest.mark.parametrize(("module", "kind"), [(train, Config), (classify, ClassificationConfig)])
def test_help_shows_ten_settings_and_help_all_every_one(module, kind, capsys):
    def listed(flag):
        assert call(module, flag) == 0
        return {line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("  ")} & names

    names = set(overrides.types(kind)) - {"task"}
    few = listed("--help")
    assert len(few) == 10 and {"train.learning_rate", "train.batch_size"} < few
    assert listed("--help-all") == names


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (evaluate, ["--benchmark=a=/x.bin"]),
        (evaluate, ["--run=/nowhere", "--benchmark=a=/x.bin"]),
        (evaluate, ["--run=/nowhere", "--backbone=/there", "--benchmark=a=synthetic:identities=4,images=6,pairs=20"]),
        (embed, ["--run=/nowhere", "--images=/nowhere", "--out=/tmp/x.npz"]),
    ],
)
def test_commands_without_a_model_or_data_are_refused(module, words, capsys):
    assert call(module, *words) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_few_faces_are_memorized(config, tmp_path, capsys):
    """In few steps, and reported so; nothing is verified, and no setting prevents it."""
    workdir = tmp_path / "heart"
    words = ("--overfit_small=16", "--config.train.steps=2", "--config.train.learning_rate=0.001")
    assert call(train, f"--config={config}", f"--workdir={workdir}", *words) == 0
    said = capsys.readouterr().out
    assert "16 images spread over it" in said and "after 2 steps the loss is not below 0.01" in said
    settings = json.loads((workdir / "run.json").read_text())["config"]
    assert settings["augment"]["flip"] is False and settings["train"]["weight_decay"] == 0
    assert settings["data"]["benchmarks"] == {} and settings["data"]["overfit_small"] == 16


def test_more_faces_than_there_are_cannot_be_memorized(config, tmp_path, capsys):
    assert call(train, f"--config={config}", f"--workdir={tmp_path}", "--overfit_small=1000") == 2
    assert "--overfit_small: 1000 is more than the 48 images" in capsys.readouterr().err
