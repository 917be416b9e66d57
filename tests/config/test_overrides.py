# SPDX-License-Identifier: Apache-2.0
"""Settings: names, types, bounds and error messages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptface_jax.config import overrides
from adaptface_jax.config.schema import Config
from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import pattern_text
from adaptface_jax.models.settings import checked


def changed(**texts: str) -> Config:
    config = overrides.defaults()
    for name, text in texts.items():
        overrides.apply(config, name.replace("__", "."), text)
    return checked(config)


def test_the_defaults_survive_the_way_through_a_config_dict():
    assert overrides.freeze(overrides.defaults()) == Config()


def test_values_are_read_by_the_type_of_the_setting():
    config = changed(
        adapter__rank="8",
        adapter__alpha="16",
        adapter__targets="q,v",
        adapter__use_rslora="true",
        data__max_identities="1000",
        train__clip_norm="none",
        train__decay_epochs="(3, 5)",
        data__train="synthetic:identities=8",
        data__benchmarks__lfw="/data/lfw.bin",
    )
    assert config.adapter.rank == 8 and config.adapter.alpha == 16.0 and isinstance(config.adapter.alpha, float)
    assert config.adapter.targets == ("q", "v") and config.adapter.use_rslora is True
    assert config.data.max_identities == 1000 and config.train.clip_norm is None
    assert config.train.decay_epochs == (3, 5)
    assert config.data.train == "synthetic:identities=8" and config.data.benchmarks == {"lfw": "/data/lfw.bin"}


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("adapter.rnak", "8", ["adapter.rnak", "adapter.rank"]),
        ("rank", "8", ["rank", "adapter.rank"]),
        ("adapter.rank", "eight", ["adapter.rank", "'eight'", "whole number"]),
        ("adapter.rank", "0", ["adapter.rank", "0", "1 to 4096"]),
        ("adapter.dropout", "1.5", ["adapter.dropout", "0 to 0.99"]),
        ("adapter.kind", "dora", ["adapter.kind", "lora", "dalora"]),
        ("adapter.targets", "qkv,q", ["adapter.targets", "fused"]),
        ("adapter.targets", "query", ["adapter.targets", "query", "fc1"]),
        ("adapter.targets", "q,q", ["adapter.targets", "twice"]),
        ("adapter.blocks", "0-12", ["adapter.blocks", "0-12", "0 to 11"]),
        ("adapter.blocks", "last", ["adapter.blocks", "'last'", "0-5,11"]),
        ("adapter.rank_pattern", "proj", ["adapter.rank_pattern", "'proj'", "like a=8,b=4"]),
        ("adapter.rank_pattern", "attn.proj=2.5", ["adapter.rank_pattern", "whole number"]),
        ("adapter.rank_pattern", "attn.proj=0", ["adapter.rank_pattern", "1 to 4096"]),
        ("adapter.rank_pattern", "proj=2,proj=4", ["adapter.rank_pattern", "proj", "twice"]),
        ("adapter.rank_pattern", "query=2", ["adapter.rank_pattern", "'query'", "attn.qkv", "blocks.0 to blocks.11"]),
        ("adapter.rank_pattern", "attn.*=8,proj=4", ["adapter.rank_pattern", "'proj'", "put it first"]),
        ("adapter.alpha_pattern", "(a+)+=2", ["adapter.alpha_pattern", "plain pattern", "attn.qkv"]),
        ("adapter.alpha_pattern", "proj=0", ["adapter.alpha_pattern", "at least"]),
        ("adapter.use_rslora", "yes", ["adapter.use_rslora", "true or false"]),
        ("backbone.name", "dinov3", ["backbone.name", "dinov3", "clip_vitb16"]),
        ("backbone.image_size", "225", ["backbone.image_size", "225", "14", "224"]),
        ("backbone.feature", "projected", ["backbone.feature", "projection"]),
        ("loss.name", "cosfase", ["loss.name", "'cosface'"]),
        ("loss.scale", "nan", ["loss.scale", "range"]),
        ("loss.sample_rate", "0", ["loss.sample_rate", "0.0001 to 1"]),
        ("loss.sample_rate", "1.5", ["loss.sample_rate", "0.0001 to 1"]),
        ("loss.dtype", "float16", ["loss.dtype", "'bfloat16'"]),
        ("loss.optimizer", "lamb", ["loss.optimizer", "adamw, adam, sgd"]),
        ("loss.learning_rate", "-1", ["loss.learning_rate"]),
        ("train.grad_accum", "3", ["train.grad_accum", "128"]),
        ("train.steps", "many", ["train.steps", "whole number or none"]),
        ("train.min_learning_rate", "1", ["train.min_learning_rate", "train.learning_rate"]),
        ("seed", "-1", ["seed", "-1"]),
        ("loss.scale", "inf", ["loss.scale", "finite"]),
        ("loss.margins", "1,nan,0", ["loss.margins", "finite"]),
        ("adapter.rank", "9" * 30, ["adapter.rank", "1 to 4096"]),
        ("train.steps", "3000000000", ["train.steps", "at most 2,147,483,647"]),
        ("data.max_bad_records", "9" * 400, ["data.max_bad_records", "at most 2,147,483,647"]),
        ("data.train", "a\0b", ["data.train", "control characters"]),
        ("data.benchmarks.a/b", "x.bin", ["data.benchmarks", "a/b", "letters, digits"]),
    ],
)
def test_a_wrong_setting_is_named_with_what_was_expected(name, text, words):
    with pytest.raises(InputError) as caught:
        changed(**{name.replace(".", "__"): text})
    message = str(caught.value)
    assert "\n" not in message and all(word in message for word in words), message


@pytest.mark.parametrize("text", ["attn.(qkv|proj)=8,blocks.0.attn.proj=4", "(blocks.0.attn.proj=4,qkv=8)"])
def test_patterns_are_typed_as_they_are_written_in_a_config_file(text):
    typed = overrides.defaults()
    overrides.apply(typed, "adapter.rank_pattern", text)
    pattern = overrides.freeze(typed).adapter.rank_pattern
    assert f"({pattern_text(pattern)})" in (text, f"({text})")
    written = overrides.defaults()
    written.adapter.rank_pattern = pattern
    written.adapter.alpha_pattern["attn.qkv"] = 8
    written.adapter.blocks = [0, "2-5"]
    config = overrides.freeze(written).adapter
    assert (config.rank_pattern, config.alpha_pattern, config.blocks) == (pattern, {"attn.qkv": 8.0}, (0, "2-5"))
    assert overrides.freeze(overrides.defaults()).adapter.alpha_pattern == {}
    overrides.apply(written, "adapter.rank_pattern", "none")
    assert overrides.freeze(written).adapter.rank_pattern == {}


@pytest.mark.parametrize("name", ["blocks", "rank_pattern", "alpha_pattern"])
def test_without_an_adapter_there_is_nothing_to_shape(name):
    text = "0" if name == "blocks" else "attn.proj=2"
    with pytest.raises(InputError, match=rf"adapter.{name}: adapter.kind=none"):
        changed(**{"adapter__kind": "none", f"adapter__{name}": text})


@pytest.mark.parametrize("router", ["frozzen", "block", "block:x", "block:12", "block:-1"])
def test_an_invalid_router(router):
    with pytest.raises(InputError, match=r"adapter\.router"):
        changed(adapter__kind="dalora", adapter__router=router)


@given(st.integers(1, 4096), st.floats(1e-6, 10), st.booleans())
def test_written_values_come_back(rank, rate, flip):
    config = changed(adapter__rank=str(rank), train__learning_rate=repr(rate), augment__flip=str(flip))
    assert (config.adapter.rank, config.train.learning_rate, config.augment.flip) == (rank, rate, flip)
