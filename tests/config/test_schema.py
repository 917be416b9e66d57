"""Every setting there is: what is valid comes back from a run's record equal, what is not never gets past the check."""

from __future__ import annotations

import dataclasses
import json
import math
import typing
from types import NoneType, UnionType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adaptface_jax.config import overrides
from adaptface_jax.config.classification import ClassificationConfig
from adaptface_jax.config.schema import Config
from adaptface_jax.core import trees
from adaptface_jax.core.errors import InputError
from adaptface_jax.core.json_io import to_json
from adaptface_jax.models.settings import checked
from adaptface_jax.models.specs import BACKBONES
from adaptface_jax.training.run import read_record, recorded_config, write_record

KINDS = {"recognition": Config, "classification": ClassificationConfig}
TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=20)

# Settings whose values depend on each other: drawn from what fits the rest.
OWN = {
    "task": None,
    "backbone.name": st.sampled_from(["demo", "dinov2_vits14"]),
    "backbone.image_size": st.sampled_from([28, 112, 224]),
    "backbone.feature": st.just("cls"),
    "backbone.train_patch_embed": st.just(False),
    "adapter.kind": st.sampled_from(["lora", "dalora"]),
    "adapter.targets": st.sampled_from([("qkv",), ("q", "v"), ("fc1", "proj", "k")]),
    "adapter.blocks": st.lists(st.integers(0, 3) | st.just("1-2"), max_size=3).map(tuple),
    "adapter.rank_pattern": st.dictionaries(TEXT, st.integers(1, 4096), max_size=3),
    "adapter.alpha_pattern": st.dictionaries(TEXT, st.floats(1e-6, 1e30), max_size=3),
    "adapter.router": st.sampled_from(["frozen", "block:1", "block:3"]),
    "data.domains": st.just(""),
    "data.stored_size": st.just("auto") | st.integers(112, 448),
    "data.benchmarks": st.dictionaries(st.from_regex(r"[a-z][a-z0-9_-]{0,9}", fullmatch=True), TEXT, max_size=3),
    "train.grad_accum": st.just(1),
    "train.min_learning_rate": st.just(0.0),
    "train.decay_epochs": st.lists(st.integers(1, 1000), max_size=4).map(tuple),
    "loss.margins": st.tuples(*[st.floats(-1e3, 1e3)] * 3),
    "model.blocks": st.tuples(*[st.integers(1, 9)] * 3),
    "data.mean": st.none(),
    "data.std": st.none(),
    "augment.crop_scale": st.none() | st.just((0.5, 1.0)),
    "augment.crop_ratio": st.just((0.5, 2.0)),
}


def fields(kind: type) -> dict[str, tuple[Any, Any]]:
    """Name -> (type, field) of every setting."""
    found = {}
    hints = overrides.types(kind)
    for name, field_kind in hints.items():
        section, _, leaf = name.rpartition(".")
        owner = overrides.sections(kind)[section] if section else kind
        found[name] = field_kind, owner.__dataclass_fields__[leaf]
    return found


def valid(name: str, kind: Any, field: Any) -> st.SearchStrategy[Any]:
    if name in OWN and OWN[name] is not None:
        return OWN[name]
    metadata = field.metadata
    if metadata["choices"]:
        return st.sampled_from(metadata["choices"])
    if isinstance(kind, UnionType):
        options = [option for option in typing.get_args(kind) if option is not NoneType]
        return st.none() | valid(name, options[0], field)
    if typing.get_origin(kind) is tuple:
        return st.lists(valid("", typing.get_args(kind)[0], field), max_size=3).map(tuple)
    low, high = metadata["low"], metadata["high"]
    if kind is int:
        return st.integers(0 if low is None else int(low), 2**31 - 1 if high is None else int(high))
    if kind is float:
        return st.floats(-1e30 if low is None else low, 1e30 if high is None else high, allow_nan=False)
    return st.booleans() if kind is bool else TEXT


def trees_of(task: str) -> st.SearchStrategy[dict[str, Any]]:
    flat = {name: valid(name, *found) for name, found in fields(KINDS[task]).items() if name != "task"}
    return st.fixed_dictionaries(flat).map(lambda drawn: unflattened({"task": task} | drawn))


def unflattened(flat: dict[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, value in flat.items():
        section, _, leaf = name.rpartition(".")
        (tree.setdefault(section, {}) if section else tree)[leaf] = value
    return tree


@pytest.mark.parametrize("task", KINDS)
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(st.data())
def test_valid_settings_come_back_from_the_record_as_they_were(task, tmp_path, data):
    config = overrides.freeze(data.draw(trees_of(task)))
    record = json.loads(to_json({"config": dataclasses.asdict(config), "backbone": {}, "data": {"classes": 2}}))
    write_record(tmp_path, record)
    text = (tmp_path / "run.json").read_text(encoding="utf-8")
    assert json.loads(text, parse_constant=pytest.fail) == record
    assert recorded_config(tmp_path, read_record(tmp_path)) == config


BAD: dict[Any, list[Any]] = {
    int: [1.5, "1", True, None, math.nan, 10**12, -(10**12), [1]],
    float: ["1", True, math.nan, math.inf, -math.inf, 1e39, 10**40, [1.0]],
    bool: [1, "true", 0.0],
    str: [1, True, 1.0, b"x", "a\0", "a\nb", "\x1b[31m"],
}

BAD_KEYS = (1, "", "attn", "attn.query", "blocks.12.attn.proj", "(a+)+", "a" * 400, "../x")


def wrong_values(kind: Any, field: Any) -> list[Any]:
    """Values that no setting of this kind can have."""
    if isinstance(kind, UnionType):
        inner = [option for option in typing.get_args(kind) if option is not NoneType]
        wrong = [value for value in wrong_values(inner[0], field) if value is not None]
        return [value for value in wrong if not any(overrides.fits(value, option) for option in inner[1:])]
    if typing.get_origin(kind) is tuple:
        inner = typing.get_args(kind)[0]
        bad = [-1, 1.5, True, None, "x", "9-1", "0-99", 99] if isinstance(inner, UnionType) else BAD[inner]
        return [1, "x", *[(value,) for value in bad]]
    if typing.get_origin(kind) is dict and typing.get_args(kind)[1] is not str:
        return [[], "x", {"attn.proj": "8"}, {"attn.proj": 0}, {"attn.proj": True}, *[{key: 8} for key in BAD_KEYS]]
    if typing.get_origin(kind) is dict:
        return [[], "x", {1: "x"}, {"a": 1}, {"": "x"}, {"a b": "x"}, {"../x": "x"}, {"a" * 300: "x"}]
    values = list(BAD[kind])
    low, high = field.metadata["low"], field.metadata["high"]
    values += [] if low is None else [low - 1]
    values += [] if high is None else [high + 1]
    return values + (["nonsense"] if field.metadata["choices"] else [])


@pytest.mark.parametrize("task", KINDS)
def test_what_no_setting_can_be_is_refused_by_its_name(task):
    plain = json.loads(to_json(dataclasses.asdict(KINDS[task]())))
    count = 0
    for name, (kind, field) in fields(KINDS[task]).items():
        for value in wrong_values(kind, field):
            section, _, leaf = name.rpartition(".")
            tree = json.loads(json.dumps(plain))
            (tree[section] if section else tree)[leaf] = value
            with pytest.raises(InputError) as caught:
                checked(tree)
            said = str(caught.value)
            assert name in said and "\n" not in said and len(said) < 400, (name, value, said)
            count += 1
    assert count > 200


def test_the_schema_is_covered():
    assert set(OWN) <= set(fields(Config)) | set(fields(ClassificationConfig))
    assert {"demo", "dinov2_vits14"} <= set(BACKBONES)
    assert len(trees.flatten(json.loads(to_json(dataclasses.asdict(Config()))), ".")) > 60
