"""The record of a run: a corrupted one gives a line that names the file, whatever command reads it."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

from adaptface_jax.config.schema import Config
from adaptface_jax.evaluate import __main__ as evaluate
from adaptface_jax.report import __main__ as report
from adaptface_jax.train import __main__ as train
from adaptface_jax.training.run import read_record, recorded_config
from tests.running import call, write_config

VALID = {"config": {"adapter": {"rank": 8}}, "backbone": {}, "data": {"images": 8, "classes": 2}}


def with_config(**sections: object) -> dict:
    return {**copy.deepcopy(VALID), "config": sections}


NO_RECORD = "); restore it, or choose another --workdir"
DAMAGED = {
    "nothing": ("", NO_RECORD),
    "half of it": (json.dumps(VALID)[:-5], NO_RECORD),
    "a list": ([VALID], NO_RECORD),
    "no settings": ({"backbone": {}, "data": {}}, NO_RECORD),
    "no data": ({**VALID, "data": {}}, "data.classes is None"),
    "no backbone": ({"config": {}, "data": VALID["data"]}, "backbone is missing"),
    "settings are a text": ({**VALID, "config": "none"}, NO_RECORD),
    "a section is a number": (with_config(adapter=3), "adapter: 3 is not a section of settings"),
    "a value is none": (with_config(adapter={"rank": "two"}), "adapter.rank: 'two' is not a whole number"),
    "a value is not allowed": (with_config(adapter={"rank": 0}), "adapter.rank: 0 is out of range"),
    "a setting is not known": (with_config(adapter={"color": 1}), "adapter.color: no such setting"),
    "a section is not known": (with_config(color={}), "no section 'color'"),
    "settings contradict": (with_config(train={"grad_accum": 3}), "train.grad_accum: 3 does not divide"),
}


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Path:
    settings = {"data.train": "synthetic:identities=2,images=8", "train.batch_size": 8, "train.epochs": 1}
    return write_config(tmp_path_factory.mktemp("config") / "small.py", settings)


@pytest.mark.parametrize(("content", "words"), DAMAGED.values(), ids=DAMAGED)
def test_a_corrupted_record_gives_one_line_for_every_command(config, tmp_path, capsys, content, words):
    path = tmp_path / "run" / "run.json"
    path.parent.mkdir()
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    before = path.read_bytes()
    for command in (
        (train, f"--config={config}", f"--workdir={path.parent}"),
        (evaluate, f"--run={path.parent}", "--benchmark=faces=synthetic:identities=4,images=6,pairs=20"),
        (report, path.parent, f"--out={tmp_path / 'pages'}"),
    ):
        assert call(*command) == 2
        error = capsys.readouterr().err
        assert error.startswith(f"error: {path}: ") and words in error and error.count("\n") == 1
    assert [found.name for found in tmp_path.rglob("*")] == ["run", "run.json"] and path.read_bytes() == before


def test_a_setting_that_the_record_lacks_has_its_default(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps(VALID))
    found = recorded_config(tmp_path, read_record(tmp_path))
    assert found.adapter.rank == 8 and found.adapter.alpha == Config().adapter.alpha and found.train == Config().train


def test_without_a_record_there_is_no_run(tmp_path):
    assert read_record(tmp_path) is None
