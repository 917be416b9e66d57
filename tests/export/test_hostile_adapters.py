# SPDX-License-Identifier: Apache-2.0
"""PEFT folders from the internet: refused in one line, whatever is wrong with them, and nothing in them runs."""

from __future__ import annotations

import contextlib
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptface_jax.core.errors import InputError
from adaptface_jax.weights.peft.files import read_adapter
from adaptface_jax.weights.peft.start import start_from
from tests.export.adapters import (
    DINOV2,
    config,
    export,
    fresh,
)


def edit(**changes):
    """An adapter_config.json with other values."""

    def damage(folder: Path) -> None:
        path = folder / "adapter_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return damage


def tensors(change):
    """Other tensors."""

    def damage(folder: Path) -> None:
        file = folder / "adapter_model.safetensors"
        held = safetensors.numpy.load_file(file)
        safetensors.numpy.save_file(change(held), file)

    return damage


def text(name: str, content: str | bytes):
    def damage(folder: Path) -> None:
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    return damage


def without(*names: str):
    def damage(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return damage


class Bomb:
    def __reduce__(self):
        return (open, ("executed", "w"))


def pickled(folder: Path) -> None:
    without("adapter_model.safetensors")(folder)
    (folder / "adapter_model.bin").write_bytes(pickle.dumps(Bomb()))


def pickled_by_another_name(folder: Path) -> None:
    (folder / "adapter_model.safetensors").write_bytes(pickle.dumps(Bomb()))


def header(change):
    """The header of the safetensors file, changed as text."""

    def damage(folder: Path) -> None:
        file = folder / "adapter_model.safetensors"
        data = file.read_bytes()
        length = int.from_bytes(data[:8], "little")
        new = change(data[8 : 8 + length].decode().rstrip()).encode()
        file.write_bytes(len(new).to_bytes(8, "little") + new + data[8 + length :])

    return damage


def as_folder(folder: Path) -> None:
    without("adapter_model.safetensors")(folder)
    (folder / "adapter_model.safetensors").mkdir()


def sharded(folder: Path) -> None:
    without("adapter_model.safetensors")(folder)
    index = {"weight_map": {"base_model.model.x": "../../../etc/passwd"}}
    (folder / "adapter_model.safetensors.index.json").write_text(json.dumps(index))


A0 = "base_model.model.encoder.layer.0.attention.q_proj.lora_A.weight"
PROJ = "base_model.model.encoder.layer.1.attention.o_proj.lora_B.weight"
HOSTILE = {
    "no config": (without("adapter_config.json"), "has no adapter_config.json"),
    "no tensors": (without("adapter_model.safetensors"), "has no adapter_model.safetensors"),
    "nothing at all": (
        without("adapter_config.json", "adapter_model.safetensors", "head.safetensors"), "no adapter_config.json",
    ),
    "config is no JSON": (text("adapter_config.json", "{'r': 4}"), "not readable as JSON"),
    "config is a list": (text("adapter_config.json", "[]"), "expected an object"),
    "config is empty": (text("adapter_config.json", ""), "not readable as JSON"),
    "config is not text": (text("adapter_config.json", b"\xff\xfe\x00"), "not readable as JSON"),
    "config nests without end": (text("adapter_config.json", "[" * 10**5), "not readable as JSON"),
    "config says a key twice": (text("adapter_config.json", '{"r": 4, "r": 8}'), "occurs twice"),
    "config holds NaN": (text("adapter_config.json", '{"lora_alpha": NaN}'), "NaN"),
    "a pickle with code": (pickled, "adapter_model.bin: is a bare pickle, not a torch archive"),
    "a pickle called safetensors": (pickled_by_another_name, "adapter_model.safetensors"),
    "an index that leaves the folder": (sharded, "has no adapter_model.safetensors"),
    "a folder called safetensors": (as_folder, "has no adapter_model.safetensors"),
    "0 bytes": (text("adapter_model.safetensors", ""), "adapter_model.safetensors"),
    "a header of 2^60 bytes": (text("adapter_model.safetensors", (1 << 60).to_bytes(8, "little")), "adapter_model"),
    "the same key twice": (header(lambda text: text[:-1] + "," + text[1:]), "(?i)twice|duplicate"),
    "offsets past the end": (header(lambda text: text.replace('_offsets":[0', '_offsets":[99999999')), "adapter"),
    "not LoRA": (edit(peft_type="IA3"), "peft_type"),
    "rank 0": (edit(r=0), "r is 0"),
    "rank 10^9": (edit(r=10**9), "r is 1000000000"),
    "rank true": (edit(r=True), "r is True"),
    "another rank than the tensors'": (edit(r=3), "wrong shape"),
    "negative alpha": (edit(lora_alpha=-1), "lora_alpha is -1"),
    "alpha as text": (edit(lora_alpha="16"), "lora_alpha"),
    "alpha beyond floats": (edit(lora_alpha=10**400), "lora_alpha"),
    "DoRA": (edit(use_dora=True), "use_dora is True"),
    "biases": (edit(bias="all"), "bias is 'all'"),
    "biases of the adapter": (edit(lora_bias=True), "lora_bias"),
    "transposed weights": (edit(fan_in_fan_out=True), "fan_in_fan_out"),
    "PiSSA, which changes the base": (edit(init_lora_weights="pissa"), "init_lora_weights is 'pissa'"),
    "a list for a start": (edit(init_lora_weights=["eva"]), "init_lora_weights"),
    "replicated layers": (edit(layer_replication=[[0, 2]]), "layer_replication"),
    "raw parameters": (edit(target_parameters=["x"]), "target_parameters"),
    "a setting of the future": (edit(use_fancy=1), "use_fancy is 1"),
    "targets that are no names": (edit(target_modules=[3]), "target_modules"),
    "targets of another model": (edit(target_modules=["c_attn"]), "extra"),
    "more targets than tensors": (edit(target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "fc1"]), "missing"),
    "fewer targets than tensors": (edit(target_modules=["o_proj"]), "extra"),
    "a pattern that backtracks": (edit(rank_pattern={"(a+)+$": 4}), "rank_pattern"),
    "a pattern of many repeats": (edit(rank_pattern={".*.*.*.*.*x": 4}), "rank_pattern"),
    "a pattern that is none": (edit(alpha_pattern={"[a": 4}), "alpha_pattern"),
    "a thousand patterns": (edit(alpha_pattern={f".*{i}": 4 for i in range(1000)}), "more than 16 patterns"),
    "rank by pattern 0": (edit(rank_pattern={"q_proj": 0}), "rank_pattern"),
    "a negative alpha by pattern": (edit(alpha_pattern={"q_proj": -2}), "alpha_pattern"),
    "blocks as text": (edit(layers_to_transform="all"), "layers_to_transform"),
    "modules_to_save as text": (edit(modules_to_save="classifier"), "modules_to_save"),
    "a saved module without tensors": (edit(modules_to_save=["patch_embeddings.projection"]), "missing"),
    "an unknown module": (tensors(lambda t: t | {"base_model.model.layernorm.weight": t[A0]}), "extra"),
    "a bias": (tensors(lambda t: t | {A0.replace("lora_A.weight", "bias"): np.ones(16, np.float32)}), "extra"),
    "no B": (tensors(lambda t: {k: v for k, v in t.items() if k != A0.replace("_A", "_B")}), r"missing \(1\)"),
    "of a text tower alone": (
        tensors(lambda t: {k.replace(".encoder", ".text_model.encoder"): v for k, v in t.items()}), "text_model",
    ),
    "of another network": (tensors(lambda t: {k.replace("encoder", "decoder"): v for k, v in t.items()}), "no layer"),
    "a tensor missing": (tensors(lambda t: {k: v for k, v in t.items() if k != A0}), rf"missing \(1\): {A0}"),
    "a tensor misshapen": (tensors(lambda t: t | {PROJ: np.ones((16, 5), np.float32)}), rf"wrong shape \(1\): {PROJ}"),
    "NaN": (tensors(lambda t: t | {PROJ: np.full((16, 4), np.nan, np.float32)}), "NaN"),
    "infinity": (tensors(lambda t: t | {A0: np.full((4, 16), np.inf, np.float32)}), "infinity"),
    "whole numbers": (tensors(lambda t: t | {A0: np.ones((4, 16), np.int32)}), "I32"),
    "a head with another tensor": (
        lambda folder: safetensors.numpy.save_file({"x": np.ones(1, np.float32)}, folder / "head.safetensors"), "extra",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_folder_gives_one_line_and_nothing_runs(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    damage, message = HOSTILE[case]
    export(tmp_path / "peft", config(), DINOV2)
    damage(tmp_path / "peft")
    again = config(folder=tmp_path / "peft")
    with pytest.raises(InputError, match=message) as caught:
        start_from(again, DINOV2, fresh(again, DINOV2))
    line = str(caught.value)
    assert "\n" not in line and len(line) < 1500
    assert not (tmp_path / "executed").exists()


def test_every_tensor_that_differs_is_in_one_report(tmp_path):
    export(tmp_path, config(), DINOV2)

    def change(held):
        del held[A0]
        return held | {PROJ: np.ones((16, 5), np.float32), "surprise": np.ones(2, np.float32)}

    tensors(change)(tmp_path)
    with pytest.raises(InputError, match=r"missing \(1\).*; extra \(1\): surprise.*; wrong shape \(1\)"):
        read_adapter(tmp_path, DINOV2)


KEYS = ["r", "lora_alpha", "target_modules", "rank_pattern", "modules_to_save", "layers_to_transform", "bias", "x"]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)


@settings(max_examples=30)
@given(junk=st.dictionaries(st.sampled_from(KEYS), VALUES))
def test_any_config_is_read_or_refused_in_one_line(junk, tmp_path_factory):
    folder = tmp_path_factory.mktemp("peft")
    export(folder, config(), DINOV2)
    edit(**junk)(folder)
    with contextlib.suppress(InputError):
        read_adapter(folder, DINOV2)


ROUTERS = {
    "no description": (without("router.json"), "router.json"),
    "no router": (without("router.safetensors"), "router.safetensors"),
    "another tensor": (
        lambda folder: safetensors.numpy.save_file(
            safetensors.numpy.load_file(folder / "router.safetensors") | {"fc3.weight": np.ones(1, np.float32)},
            folder / "router.safetensors",
        ),
        r"extra \(1\): fc3.weight",
    ),
    "looks elsewhere": (text("router.json", '{"looks_at": "block:2"}'), "adapter.router: block:1.*'block:2'"),
    "an expert without tensors": (without("domain_1/adapter_model.safetensors"), "domain_1: has no"),
    "an expert by another name": (
        lambda folder: (folder / "domain_1").rename(folder / "domain_x"),
        "domain_1: has no",
    ),
}


@pytest.mark.parametrize("case", ROUTERS)
def test_an_export_of_dalora_is_complete_or_refused(case, tmp_path):
    damage, message = ROUTERS[case]
    export(tmp_path, config("dalora"), DINOV2)
    damage(tmp_path)
    again = config("dalora", folder=tmp_path)
    with pytest.raises(InputError, match=message) as caught:
        start_from(again, DINOV2, fresh(again, DINOV2))
    assert "\n" not in str(caught.value)
