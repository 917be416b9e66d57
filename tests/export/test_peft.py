# SPDX-License-Identifier: Apache-2.0
"""`--format=peft`: adapter folders as PEFT writes them, every value kept bit for bit."""

from __future__ import annotations

import json

import numpy as np
import pytest
import safetensors.numpy

from adaptface_jax.core.errors import InputError
from adaptface_jax.export.peft import write_peft
from adaptface_jax.models.recognizer import Recognizer
from adaptface_jax.training.recognition.model import Model
from adaptface_jax.weights.peft.start import start_from
from tests.export.adapters import (
    ALL,
    CLIP,
    DINOV2,
    assert_equal,
    config,
    export,
    fresh,
)
from tests.made_towers import TINY as TOWERS
from tests.made_weights import TINY

ROUND_TRIPS = {
    "dinov2 v5": (DINOV2, "v5", {"targets": ALL, "patch": True}),
    "dinov2 v4": (DINOV2, "v4", {"targets": ALL, "patch": True}),
    "swiglu v5": (TINY["tiny_swiglu"], "v5", {"targets": ALL}),
    "swiglu v4": (TINY["tiny_swiglu"], "v4", {"targets": ("q", "k", "fc1", "fc2")}),
    "clip v5": (CLIP, "v5", {"targets": ALL, "patch": True}),
    "clip v4": (CLIP, "v4", {"targets": ("q", "v"), "use_rslora": True, "alpha": 3.0}),
    "dinov3 v5": (TOWERS["tiny_dinov3"], "v5", {"targets": ALL, "patch": True}),
    "dinov3 v4": (TOWERS["tiny_dinov3_unbiased"], "v4", {"targets": ("q", "k", "v", "fc1")}),
    "siglip v5": (TOWERS["tiny_siglip"], "v5", {"targets": ALL, "patch": True}),
    "siglip v4": (TOWERS["tiny_siglip"], "v4", {"kind": "dalora", "num_domains": 2, "targets": ("v", "fc2")}),
    "dalora v5": (DINOV2, "v5", {"kind": "dalora", "patch": True, "targets": ALL}),
    "dalora v4": (DINOV2, "v4", {"kind": "dalora", "num_domains": 2, "router": "frozen"}),
    "dalora shared": (DINOV2, "v5", {"kind": "dalora", "num_domains": 2, "shared_rank": 6, "use_rslora": True}),
}


@pytest.mark.parametrize("case", ROUND_TRIPS)
def test_out_and_in_again_is_bit_exact(case, tmp_path):
    spec, layout, wanted = ROUND_TRIPS[case]
    tree = export(tmp_path, config(**wanted), spec, layout)
    again = config(folder=tmp_path, **wanted)
    started, start = start_from(again, spec, fresh(again, spec))
    assert_equal(started, tree)
    assert "head" in start.content and len(start.sha256) == 64
    if case.startswith(("dinov2", "swiglu")):
        assert f"in the naming of transformers {layout}" in start.content


def test_the_folder_is_what_peft_expects(tmp_path):
    export(tmp_path, config(targets=("qkv", "fc1"), use_rslora=True, alpha=2.5, patch=True), TINY["tiny_swiglu"])
    settings_ = json.loads((tmp_path / "adapter_config.json").read_text())
    assert (settings_["peft_type"], settings_["r"], settings_["lora_alpha"]) == ("LORA", 4, 2.5)
    assert settings_["use_rslora"] is True and settings_["base_model_name_or_path"] == "owner/name"
    assert settings_["modules_to_save"] == ["embeddings.patch_embeddings.projection"]
    modules = {"attention.q_proj", "attention.k_proj", "attention.v_proj", "mlp.gate_proj", "mlp.up_proj"}
    assert set(settings_["target_modules"]) == modules
    with safetensors.safe_open(tmp_path / "adapter_model.safetensors", "numpy") as file:
        assert file.metadata() == {"format": "pt"}
        names = set(file.keys())
    layers = {
        f"base_model.model.encoder.layer.{i}.{m}.lora_{x}.weight" for i in range(2) for m in modules for x in "AB"
    }
    patch = "base_model.model.embeddings.patch_embeddings.projection"
    assert names == layers | {f"{patch}.weight", f"{patch}.bias"}


def test_the_pooling_of_siglip_is_kept_from_peft(tmp_path):
    """Its layers are called like those of a block."""
    for targets, excluded in ((("qkv", "fc1"), ["head.mlp.fc1"]), (("qkv", "proj"), None)):
        export(tmp_path, config(targets=targets), TOWERS["tiny_siglip"])
        found = json.loads((tmp_path / "adapter_config.json").read_text())
        assert found.get("exclude_modules") == excluded


def test_dalora_is_a_folder_for_each_expert_and_the_router(tmp_path):
    tree = export(tmp_path, config("dalora", router="block:1"), DINOV2)
    assert {path.name for path in tmp_path.iterdir()} == {
        "domain_0", "domain_1", "domain_2", "router.safetensors", "router.json", "head.safetensors", "export.json",
        "README.md",
    }  # fmt: skip
    router = json.loads((tmp_path / "router.json").read_text())
    assert (router["looks_at"], router["hidden"], router["num_domains"]) == ("block:1", 256, 3)
    tensors = safetensors.numpy.load_file(tmp_path / "router.safetensors")
    np.testing.assert_array_equal(tensors["fc1.weight"], tree["router"]["fc1"]["kernel"].T)


def test_alpha_is_written_as_it_was_set(tmp_path):
    assert 16.0 / 49 * 49 != 16.0  # computing it back from the scale would lose it
    export(tmp_path, config(rank=49, alpha=16.0), DINOV2)
    assert json.loads((tmp_path / "adapter_config.json").read_text())["lora_alpha"] == 16


def test_a_shared_expert_has_its_own_folder_at_the_strength_of_the_others(tmp_path):
    wanted = config("dalora", num_domains=2, shared_rank=6, alpha=3.0)
    export(tmp_path, wanted, DINOV2)
    found = {name: json.loads((tmp_path / name / "adapter_config.json").read_text()) for name in ("shared", "domain_1")}
    assert [(entry["r"], entry["lora_alpha"]) for entry in found.values()] == [(6, 4.5), (4, 3)]
    assert "weight 1" in json.loads((tmp_path / "router.json").read_text())["shared"]

    def started(**changes):
        again = config("dalora", folder=tmp_path, num_domains=2, alpha=3.0, **changes)
        return start_from(again, DINOV2, fresh(again, DINOV2))

    with pytest.raises(InputError, match=r"and a shared one; set .* adapter.shared_rank=6"):
        started()
    with pytest.raises(InputError, match=r"adapter.shared_rank=6"):
        started(shared_rank=4)


@pytest.mark.parametrize("kind", ["none", "full"])
def test_what_has_no_low_rank_form_is_not_written(kind, tmp_path):
    model = Model(Recognizer(DINOV2, config(kind), np.float32), {}, {}, {})
    with pytest.raises(InputError, match=f"adapter.kind={kind}.*--format=merged"):
        write_peft(model, tmp_path, layout="v5")
