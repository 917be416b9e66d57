# SPDX-License-Identifier: Apache-2.0
"""A run on dirty data: it fails after saving its state, or skips and counts; either way it resumes exactly."""

from __future__ import annotations

import json

import jax
import numpy as np
import pytest

from adaptface_jax.data.bad_records import FILE
from adaptface_jax.data.pipeline import record_keys
from adaptface_jax.data.sources.from_path import open_source
from adaptface_jax.distributed.mesh import make_mesh
from adaptface_jax.train import __main__ as train
from adaptface_jax.training.checkpoint import CHECKPOINTS, Checkpoints
from adaptface_jax.training.monitor import read_metrics
from adaptface_jax.training.recognition.run import open_run
from adaptface_jax.training.run import RUN_FILE, describe_source
from tests.data.packing import encoded, picture
from tests.running import call, write_config

SETTINGS = {
    "adapter.kind": "lora",
    "data.threads": 0,
    "train.batch_size": 8,
    "train.steps": 7,
    "train.log_every": 1,
}


@pytest.fixture(scope="module")
def command(tmp_path_factory) -> list[str]:
    """The start of a command line for 40 images, one of which, in step 4, is truncated."""
    place = tmp_path_factory.mktemp("dirty")
    for person in range(4):
        (place / "faces" / f"p{person}").mkdir(parents=True)
        for number in range(10):
            file = place / "faces" / f"p{person}" / f"{number}.png"
            file.write_bytes(encoded(picture(10 * person + number, 28, 28)))
    bad = place / "faces" / record_keys(open_source(str(place / "faces")), 8, 0, 4)[2]
    bad.write_bytes(bad.read_bytes()[:200])
    config = write_config(place / "config.py", SETTINGS | {"data.train": str(place / "faces")})
    return [f"--config={config}"]


def final(workdir):
    with Checkpoints(workdir / CHECKPOINTS, read_only=True) as checkpoints:
        return checkpoints.latest()


def losses(workdir):
    return {row["step"]: row["train/loss"] for row in read_metrics(workdir) if "train/loss" in row}


@pytest.mark.slow
def test_a_run_fails_with_its_progress_saved_and_resumes_by_skipping(command, tmp_path, capsys):
    whole, failed = tmp_path / "whole", tmp_path / "failed"
    skip = [*command, "--config.data.bad_records=skip"]
    assert call(train, *skip, f"--workdir={whole}") == 0
    assert capsys.readouterr().out.endswith("skipped   1 record that cannot be read, see bad_records.jsonl\n")
    (line,) = (whole / FILE).read_text().splitlines()
    assert list(json.loads(line)) == ["key", "reason"]
    assert final(whole) == 7

    capsys.readouterr()
    assert call(train, *command, f"--workdir={failed}") == 1
    error = capsys.readouterr().err
    assert json.loads(line)["key"] in error and "cannot decode" in error
    assert "the run is saved after step 3" in error and error.count("\n") == 1
    assert final(failed) == 3
    # Met again before anything is trained: bad input.
    assert call(train, *skip, "--config.data.max_bad_records=0", f"--workdir={failed}") == 2
    assert "data.max_bad_records: 1 bad record; at most 0 may be skipped" in capsys.readouterr().err
    assert call(train, *skip, f"--workdir={failed}") == 0
    assert (failed / FILE).read_text() == (whole / FILE).read_text()
    assert losses(failed) == losses(whole)
    for a, b in zip(leaves(failed), leaves(whole), strict=True):
        assert np.array_equal(a, b)


def leaves(workdir):
    model, step = open_run(workdir, "latest", make_mesh())
    assert step == 7
    return [np.asarray(leaf) for leaf in jax.tree.leaves(model.trainable)]


def test_a_changed_order_or_class_map_is_another_run(command, tmp_path, capsys):
    skip = [*command, "--config.data.bad_records=skip", "--config.train.steps=1"]
    source = open_source(command[0].removeprefix("--config=").replace("config.py", "faces"))
    before = describe_source(source)
    assert describe_source(source) == before
    assert {"images", "classes", "labels_sha256", "keys_sha256", "class_names_sha256"} <= set(before)
    workdir = tmp_path / "run"
    assert call(train, *skip, f"--workdir={workdir}") == 0
    record = json.loads((workdir / RUN_FILE).read_text())
    for name in ("keys_sha256", "class_names_sha256"):
        changed = record | {"data": record["data"] | {name: "0" * 64}}
        (workdir / RUN_FILE).write_text(json.dumps(changed))
        assert call(train, *skip, f"--workdir={workdir}", "--override_resume") == 2
        assert f"data.{name} was" in capsys.readouterr().err
