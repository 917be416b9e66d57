# SPDX-License-Identifier: Apache-2.0
"""The command of the classification studies: what a run writes, how it resumes, stops early, is evaluated and
refused."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from adaptface_jax.classify import __main__ as classify
from adaptface_jax.data.splits import open_splits
from adaptface_jax.evaluate import __main__ as evaluate
from adaptface_jax.evaluation.classification.results import read_classification
from adaptface_jax.train import __main__ as train
from adaptface_jax.training import loop
from adaptface_jax.training.checkpoint import CHECKPOINTS, Checkpoints
from adaptface_jax.training.classification.run import open_classifier
from adaptface_jax.training.monitor import read_metrics
from tests.running import call, write_config

TIMES = ("train/images_per_second", "train/data_wait")
COLORS = {"blue": (40, 60, 200), "green": (40, 200, 60), "red": (200, 60, 40)}
EACH = 40
SETTINGS = """
from adaptface_jax.config import defaults

def get_config():
    c = defaults("classification")
    c.model.name = "cnn"
    c.model.image_size = 12
    c.model.width = 8
    c.model.channels_block3 = 16
    c.model.dropout = 0.2
    c.augment.rotation = 5.0
    c.data.path = {path!r}
    c.data.threads = 0
    c.eval.batch_size = 32
    c.train.optimizer = "adam"
    c.train.learning_rate = 3e-3
    c.train.batch_size = 16
    c.train.epochs = 3
    c.train.log_every = 1
    c.checkpoint.every_steps = 4
    c.checkpoint.keep = 20
    return c
"""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """A folder per class; each image has its class's color and noise, and one is gray."""
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("pictures")
    for name, color in COLORS.items():
        (folder / name).mkdir()
        for i in range(EACH):
            pixels = np.clip(rng.normal(color, 60, (12, 12, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{i:02d}.png")
    Image.fromarray(np.full((9, 9), 130, np.uint8)).save(folder / "green" / "gray.png")
    return folder


@pytest.fixture(scope="module")
def config(pictures, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("configs") / "small.py"
    path.write_text(SETTINGS.format(path=str(pictures)))
    return path


@pytest.fixture(scope="module")
def run(config, tmp_path_factory) -> Path:
    """A finished run of 15 steps: 5 per epoch of 95 images, an evaluation after each."""
    workdir = tmp_path_factory.mktemp("runs") / "whole"
    assert call(classify, f"--config={config}", f"--workdir={workdir}") == 0
    return workdir


def state_of(workdir: Path, step: str = "latest") -> dict[str, np.ndarray]:
    plan, _ = open_classifier(workdir, step)
    leaves = jax.tree_util.tree_leaves_with_path({"params": plan.trainable, "moments": plan.statistics})
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}


def rows_of(workdir: Path) -> list[dict[str, float]]:
    return [{k: v for k, v in row.items() if k not in TIMES} for row in read_metrics(workdir)]


def test_a_run_learns_and_writes_its_report(run):
    results = read_classification(run / "results.json")
    assert results.run is not None and results.run.steps == 15 and results.test is None
    assert list(results.validation.labels) == list(COLORS)
    assert results.validation.macro_f1 > 0.9 > results.baselines["validation"]["majority"].macro_f1
    assert sum(map(sum, results.validation.confusion)) == results.validation.images == 13
    assert [sum(part.values()) for part in results.distribution.values()] == pytest.approx([1, 1, 1])
    assert "macro F1" in (run / "results.md").read_text() and "<svg" in (run / "results.html").read_text()


def test_the_header_lists_the_baselines_and_the_expected_loss(config, tmp_path, capsys):
    assert call(classify, f"--config={config}", f"--workdir={tmp_path / 'none'}", "--dry_run") == 0
    said = capsys.readouterr().out
    assert "measuring the pixels of 95 training images" in said and "blue 3" in said
    assert "the first should be 1.10 +- 0.02" in said
    assert not (tmp_path / "none").exists()


def test_every_evaluation_is_in_the_log(run):
    rows = read_metrics(run)
    evaluated = {row["step"]: row for row in rows if "eval/validation/macro_f1" in row}
    assert list(evaluated) == [5, 10, 15]
    assert {"eval/validation/loss", "eval/validation/accuracy", "eval/validation/f1/red"} <= evaluated[5].keys()
    first = next(row for row in rows if row["step"] == 1)
    assert abs(first["train/loss"] / np.log(3) - 1) < 0.05


@pytest.mark.slow
def test_a_stopped_run_ends_like_an_uninterrupted_one(run, config, tmp_path, monkeypatch):
    """The moments of batch normalization, dropout and augmentation resume where they were, to the last bit."""
    workdir, real = tmp_path / "stopped", loop.placed_batches

    def stopping(plan, start, *rest):
        for step, batch in enumerate(real(plan, start, *rest), start + 1):
            if step == 8:
                signal.raise_signal(signal.SIGTERM)
            yield batch

    monkeypatch.setattr(loop, "placed_batches", stopping)
    assert call(classify, f"--config={config}", f"--workdir={workdir}") == 75
    with Checkpoints(workdir / CHECKPOINTS, read_only=True) as checkpoints:
        assert checkpoints.latest() == 8
    monkeypatch.undo()
    assert call(classify, f"--config={config}", f"--workdir={workdir}") == 0
    for name, leaf in state_of(run).items():
        np.testing.assert_array_equal(state_of(workdir)[name], leaf, err_msg=name)
    assert rows_of(workdir) == rows_of(run)


def test_another_config_is_not_resumed(run, config, capsys):
    assert call(classify, f"--config={config}", f"--workdir={run}", "--config.model.dropout=0.5") == 2
    assert "config.model.dropout was 0.2, now 0.5" in capsys.readouterr().err


def test_a_run_resumes_with_its_data_moved(run, config, pictures, tmp_path, capsys):
    workdir, moved = tmp_path / "run", tmp_path / "pictures"
    shutil.copytree(run, workdir)
    shutil.copytree(pictures, moved)
    words = (f"--config={config}", f"--workdir={workdir}", f"--config.data.path={moved}")
    assert call(classify, *words) == 2
    assert "allow this with --override_resume" in capsys.readouterr().err
    assert call(classify, *words, "--override_resume") == 0
    (moved / "blue" / "00.png").unlink()
    assert call(classify, *words, "--override_resume") == 2
    assert "cannot change within a run" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_without_a_better_score_ends_early_and_stays_ended(config, tmp_path, capsys):
    workdir = tmp_path / "run"
    words = [f"--config={config}", f"--workdir={workdir}", "--config.train.learning_rate=0", "--config.train.epochs=30"]
    assert call(classify, *words, "--config.train.patience=2") == 0
    rows = read_metrics(workdir)
    scores = [row["eval/validation/macro_f1"] for row in rows if "eval/validation/macro_f1" in row]
    best = scores.index(max(scores))
    assert len(scores) == best + 3 < 30
    said = capsys.readouterr().out
    assert f"ended early after step {5 * len(scores)} of 150: no better score in 2 evaluations" in said
    assert read_classification(workdir / "results.json").run.ended_early

    assert call(classify, *words, "--config.train.patience=2") == 0
    assert read_metrics(workdir) == rows
    assert call(classify, *words, "--config.train.patience=3", "--override_resume") == 0
    assert max(row["step"] for row in read_metrics(workdir)) > 5 * len(scores)


@pytest.mark.slow
def test_a_few_images_are_memorized(config, tmp_path, capsys):
    words = (
        f"--config={config}",
        f"--workdir={tmp_path / 'run'}",
        "--overfit_small=16",
        "--config.train.learning_rate=0.01",
    )
    assert call(classify, *words) == 0
    said = capsys.readouterr()
    assert "16 images spread over it" in said.out and "the loss is below 0.01" in said.out
    assert read_metrics(tmp_path / "run")[-1]["train/loss"] < 0.01


def test_too_few_steps_to_memorize_are_reported(config, tmp_path, capsys):
    words = (f"--config={config}", f"--workdir={tmp_path / 'run'}", "--overfit_small=16", "--config.train.steps=2")
    assert call(classify, *words) == 0
    assert "after 2 steps the loss is not below 0.01" in capsys.readouterr().out


def test_the_test_split_is_evaluated_when_asked_for(run, tmp_path, capsys):
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    output = tmp_path / "test.json"
    assert call(classify, f"--evaluate={copy}", "--split=test", f"--output={output}") == 0
    written, results = json.loads(output.read_text()), read_classification(copy / "results.json")
    assert results.test is not None and results.test.images == 13
    assert written["split"] == "test" and written["result"]["macro_f1"] == results.test.macro_f1
    assert results.validation == read_classification(run / "results.json").validation
    assert "accuracy" in capsys.readouterr().out


def test_the_validation_metrics_match_the_report(run, tmp_path):
    output = tmp_path / "validation.json"
    assert call(classify, f"--evaluate={run}", "--split=validation", f"--output={output}") == 0
    found = json.loads(output.read_text())["result"]
    assert found["loss"] == pytest.approx(read_classification(run / "results.json").validation.loss, rel=1e-6)


def test_unreadable_images_are_left_out_of_all_metrics_and_reported(config, pictures, tmp_path, capsys):
    dirty, workdir = shutil.copytree(pictures, tmp_path / "dirty"), tmp_path / "run"
    splits = open_splits(str(dirty))
    for source, count in ((splits.train, 1), (splits.validation, 2), (splits.test, 3)):
        for number in range(count):
            (dirty / source.key(number)).write_bytes(b"broken")
    command = (f"--config={config}", f"--workdir={workdir}", f"--config.data.path={dirty}", "--config.train.epochs=2")
    assert call(classify, *command) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{splits.train.key(0)}: cannot decode" in line
    skip = ("--config.data.bad_records=skip", "--config.data.max_bad_records=2", "--config.eval.pixel_baseline=True")
    assert call(classify, *command, *skip) == 0
    said = capsys.readouterr().out
    left = f"{splits.validation.description}: 2 of 13 images cannot be read and are skipped, the first: "
    assert said.count(left) == 1 and said.endswith("skipped   1 record that cannot be read, see bad_records.jsonl\n")
    results = read_classification(workdir / "results.json")
    assert results.validation.images == sum(map(sum, results.validation.confusion)) == 11
    assert call(classify, f"--evaluate={workdir}", "--split=test") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "3 of 13 images cannot be read, at most 2 are skipped (data.max_bad_records)" in line


def test_a_run_whose_images_have_changed_is_refused(run, pictures, tmp_path, capsys):
    moved = tmp_path / "moved"
    shutil.copytree(pictures, moved)
    assert call(classify, f"--evaluate={run}", f"--data={moved}", "--split=validation") == 0
    (moved / "red" / "00.png").rename(moved / "red" / "other.png")
    assert call(classify, f"--evaluate={run}", f"--data={moved}") == 2
    assert "are not those of the run (as many as its run.json lists" in capsys.readouterr().err
    (moved / "red" / "other.png").unlink()
    assert call(classify, f"--evaluate={run}", f"--data={moved}") == 2
    assert "are not those of the run (its run.json lists" in capsys.readouterr().err


def test_settings_of_the_other_task_are_refused(run, config, tmp_path, capsys):
    faces = write_config(tmp_path / "faces.py", {"data.train": "synthetic:identities=4,images=12,seed=1"})
    for module, words, expected in (
        (classify, (f"--config={faces}", f"--workdir={tmp_path}"), "takes those of classification"),
        (train, (f"--config={config}", f"--workdir={tmp_path}"), "takes those of recognition"),
        (evaluate, (f"--run={run}", f"--benchmark=a={run}"), "a"),
        (classify, ("--config=celeba_cnn",), "--config and --workdir train a classifier"),
        (classify, (f"--evaluate={run}", f"--workdir={run}"), "--workdir: belongs to training"),
        (classify, ("--config=celeba_cnn", f"--workdir={run}", "--split=test"), "--split: belongs to --evaluate"),
        (classify, (f"--evaluate={tmp_path}",), "contains no run"),
    ):
        assert call(module, *words) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ") and error.count("\n") == 1 and expected in error


def celeba(folder: Path) -> Path:
    """Two images per split, two attributes."""
    images = folder / "img_align_celeba"
    images.mkdir(parents=True)
    names = [f"{i:06d}.jpg" for i in range(1, 7)]
    for name in names:
        Image.fromarray(np.full((8, 8, 3), 90, np.uint8)).save(images / name)
    rows = "".join(f"{name} {1 if i % 2 else -1} -1\n" for i, name in enumerate(names))
    (folder / "list_attr_celeba.txt").write_text(f"6\nSmiling Male\n{rows}")
    (folder / "list_eval_partition.txt").write_text("".join(f"{n} {i // 2}\n" for i, n in enumerate(names)))
    return folder


def lose_a_picture(folder: Path) -> None:
    (folder / "img_align_celeba" / "000003.jpg").unlink()


@pytest.mark.parametrize(
    ("attributes", "change", "expected"),
    [("Smilling", None, "Smiling"), ("Smiling", lose_a_picture, "000003.jpg")],
    ids=["an attribute that is not there", "a picture that is missing"],
)
def test_a_broken_celeba_gives_one_line(attributes, change, expected, tmp_path, capsys):
    folder = celeba(tmp_path / "celeba")
    if change:
        change(folder)
    words = ("--config=celeba_cnn", f"--workdir={tmp_path / 'run'}", f"--config.data.path={folder}")
    assert call(classify, *words, f"--config.data.attributes={attributes}") == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and expected in error
    assert not (tmp_path / "run").exists()
