# SPDX-License-Identifier: Apache-2.0
"""Every setting: its valid and invalid values, and command lines made from both."""

from __future__ import annotations

import functools
import math
import random
import typing
from collections.abc import Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Any

import hypothesis
from hypothesis import strategies as st

from adaptface_jax.config import overrides
from adaptface_jax.config.classification import ClassificationConfig
from adaptface_jax.config.schema import Config, sections
from adaptface_jax.train import __main__ as train
from tests.faults.trial import Trial, answer, judged
from tests.running import write_config

KINDS = {"recognition": Config, "classification": ClassificationConfig}
TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=20)

# Settings that depend on each other: drawn from what fits the rest.
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
    "adapter.router_input": st.just("mean"),
    "adapter.null_expert": st.just(False),
    "adapter.null_weight": st.just(1.0),
    "adapter.gate": st.just("soft"),
    "data.domains": st.just(""),
    "data.keep": st.just(""),
    "train.keep_batch": st.just(0),
    "data.stored_size": st.just("auto") | st.integers(112, 448),
    "data.benchmarks": st.dictionaries(st.from_regex(r"[a-z][a-z0-9_-]{0,9}", fullmatch=True), TEXT, max_size=3),
    "train.grad_accum": st.just(1),
    "train.learning_rate": st.floats(1e-9, 1e9),
    "train.min_learning_rate": st.just(0.0),
    "train.decay_epochs": st.lists(st.integers(1, 1000), max_size=4).map(tuple),
    "loss.margin_std": st.just(0.0),
    "loss.magface": st.just((10.0, 110.0, 0.45, 0.8, 35.0)),
    "loss.subcenters": st.just(1),
    "eval.guard": st.just(()),
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
        owner = sections(kind)[section] if section else kind
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


# What a dry run reads, or would take minutes to make.
FIXED = (
    "train.batch_size",
    "task",
    "backbone.name",
    "backbone.weights",
    "backbone.image_size",
    "data.train",
    "data.benchmarks",
)
SMALL = {
    "backbone.weights": "builtin", "data.train": "synthetic:identities=4,images=4,seed=1", "data.threads": 0,
    "train.batch_size": 8, "eval.batch_size": 8,
}  # fmt: skip
MODERATE = 4096  # of an integer in a command line that is run: memory is another matter


def trials(folder: Path, count: int, seed: int) -> Iterator[Trial]:
    """Command lines of a dry run, half with a value that its setting cannot have, the others with three that are
    possible, though perhaps not together."""
    rng = random.Random(seed)
    dry = ("--dry_run", f"--workdir={folder / 'run'}")
    small = write_config(folder / "small.py", SMALL)
    wrong = [(name, text) for name, found in fields(Config).items() for text in wrong_texts(*found)]
    for name, text in rng.choices(wrong, k=count // 2):
        words = (train, f"--config={small}", *dry, f"--config.{name}={text}")
        yield Trial("setting, impossible", f"{name}={text[:40]!r}", functools.partial(ends, words, 2))
    for tree in drawn(count - count // 2, seed):
        changes = rng.sample([name for name in tree if not name.startswith(FIXED)], 3)
        texts = [f"--config.{name}={as_text(tree[name])}" for name in changes]
        words = (train, f"--config={small}", *dry, *texts)
        yield Trial("setting, possible", " ".join(texts), functools.partial(ends, words, 0, 2))


def ends(words: tuple[Any, ...], *statuses: int) -> str:
    return judged(answer(*words), *statuses)


def drawn(count: int, seed: int) -> list[dict[str, Any]]:
    """Sets of valid values by name."""
    found: list[dict[str, Any]] = []
    named = {name: valid(name, *which) for name, which in fields(Config).items() if name != "task"}

    @hypothesis.seed(seed)
    @hypothesis.settings(max_examples=count, database=None, deadline=None, phases=[hypothesis.Phase.generate],
                         suppress_health_check=list(hypothesis.HealthCheck))  # fmt: skip
    @hypothesis.given(st.fixed_dictionaries(named))
    def note(tree: dict[str, Any]) -> None:
        found.append(tree)

    note()
    return found[:count]


def wrong_texts(kind: Any, field: Any) -> list[str]:
    """Texts that are invalid for any setting of this type."""
    values = wrong_values(kind, field)
    plain = kind in (int, float) or isinstance(kind, UnionType)
    numbers = [str(value) for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    words = [value for value in values if isinstance(value, str) and not value.isprintable()]
    return (numbers if plain else []) + words + (["nonsense!"] if kind is bool or field.metadata["choices"] else [])


def as_text(value: Any) -> str:
    """A value as it is typed."""
    if isinstance(value, tuple):
        return ",".join(map(as_text, value))
    if isinstance(value, int) and not isinstance(value, bool):
        return str(min(value, MODERATE))
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
