# SPDX-License-Identifier: Apache-2.0
"""Runs opened side by side: each image is embedded as by its own run, and a swap compiles nothing."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

import adaptface_jax as af
from adaptface_jax.config.schema import Config
from adaptface_jax.training.run import read_record, write_record
from tests import made_models as models
from tests.made_models import relative, replace
from tests.made_runs import write_run


def settings(kind: str = "lora", **adapter) -> Config:
    return replace(models.config(kind, **adapter), "backbone", weights="builtin")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Three, the first two of which are opened."""
    folder = tmp_path_factory.mktemp("many")
    kinds = (settings(rank=2), settings(rank=3, targets=("q", "proj")), settings(rank=4, targets=("qkv",)))
    for number, config in enumerate(kinds):
        write_run(folder / str(number), config)
    return [str(folder / str(number)) for number in range(len(kinds))]


@pytest.fixture(scope="module")
def model(runs):
    return af.open(runs[0], adapters=runs[1:2], batch_size=4)


def test_a_swap_compiles_nothing_and_every_image_uses_its_own_run(model, runs, crops):
    first, old, new = runs
    assert model.adapters == (first, old)
    alone = {run: af.open(run, batch_size=4).embed(crops[:6]) for run in runs}

    def check(names):
        together = model.embed((crop for crop in crops[:6]), adapters=names)
        for name in ("embeddings", "raw", "features"):
            expected = [getattr(alone[run], name)[i] for i, run in enumerate(names)]
            assert relative(getattr(together, name), np.array(expected)) < 1e-5
        return together

    before = check([first, old, old, first, old, first])
    compiled = model.side_by_side.embedder._function._cache_size()
    model.swap(old, new)
    after = check([first, new, new, first, new, first])
    model.swap(new, old)
    assert model.adapters == (first, old)
    assert model.side_by_side.embedder._function._cache_size() == compiled
    np.testing.assert_array_equal(after.raw[[0, 3, 5]], before.raw[[0, 3, 5]])
    np.testing.assert_array_equal(
        model.embed(crops[:4], adapters=old).raw, model.embed(crops[:4], adapters=[old] * 4).raw
    )


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (replace(settings(), "backbone", image_size=56), "backbone.image_size is 56, not 28"),
        (replace(settings(), "head", embedding_dim=8), "head.embedding_dim is 8, not 16"),
        (settings("dalora"), "its gates is 3 of rank 4 at block:1, not none"),
        (settings("full"), "is a full fine-tuning, a separate backbone and not an adapter"),
        (None, "has a different backbone"),
    ],
)
def test_what_cannot_be_opened_with_a_run_is_named(config, told, model, runs, tmp_path):
    """From its record only."""
    record = read_record(Path(runs[0]))
    if config is None:
        record["backbone"]["sha256"] = "0" * 64
    else:
        record["config"] = dataclasses.asdict(config)
    write_record(tmp_path, record)
    with pytest.raises(af.InputError, match=told) as error:
        model.swap(runs[1], tmp_path)
    assert str(error.value).startswith(f"adapters: {tmp_path}") and "\n" not in str(error.value)
    assert model.adapters == tuple(runs[:2])


def test_names_that_do_not_fit_the_images(model, backbone, crops):
    with pytest.raises(af.InputError, match="absent is not one of those opened"):
        model.embed(crops[:2], adapters=["absent", "absent"])
    with pytest.raises(af.InputError, match="1 is not one of those opened"):
        model.embed(crops[:2], adapters=[1, 1])
    with pytest.raises(af.InputError, match="is a int; expected a name"):
        model.embed(crops[:2], adapters=1)
    for count, told in ((2, "fewer names"), (4, "more names")):
        with pytest.raises(af.InputError, match=told):
            model.embed(crops[:3], adapters=[model.adapters[0]] * count)
    with pytest.raises(af.InputError, match="none were opened with this one"):
        backbone.embed(crops[:2], adapters="runs/a")
    with pytest.raises(af.InputError, match="is named twice"):
        af.open(model.adapters[0], adapters=[model.adapters[0]])
    with pytest.raises(af.InputError, match="require a run"):
        af.open("builtin", adapters=[model.adapters[0]])
