# SPDX-License-Identifier: Apache-2.0
"""Exports reloaded where they belong: merged weights in transformers, adapters in PEFT.

Adapters named for transformers 4 do not fit the modules of version 5; that layout is compared name by name with modules
renamed back, and live if version 4 is installed.
"""

from __future__ import annotations

import dataclasses
import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adaptface_jax.config.schema import BackboneConfig
from adaptface_jax.distributed.mesh import make_mesh
from adaptface_jax.export import merged as merging
from adaptface_jax.export.peft import write_peft
from adaptface_jax.export.tower import model_class
from adaptface_jax.models.specs import BACKBONES
from adaptface_jax.training.recognition.model import build_model
from adaptface_jax.weights.peft.start import folders_of
from tests import made_models as models
from tests import made_runs as finished
from tests.made_towers import rows

# PEFT uses a transformers name that is deprecated.
pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")]
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
peft = pytest.importorskip("peft")
load_file = pytest.importorskip("safetensors.torch").load_file

TOLERANCE = 1e-5
SIZE = 12
VERSION = "v4" if int(transformers.__version__.split(".")[0]) < 5 else "v5"
MESH = make_mesh(jax.devices()[:1])


@pytest.fixture(autouse=True)
def tiny_rows(monkeypatch):
    for name, spec in ROWS.items():
        monkeypatch.setitem(BACKBONES, name, spec)


ROWS = rows()
ROWS["tiny_clip_h"] = dataclasses.replace(ROWS["tiny_clip"], activation="gelu", mlp_width=48)
ALL = ("qkv", "proj", "fc1", "fc2")
PATTERNS = {"rank_pattern": {"blocks.0.attn.q": 1, "attn.(q|v)": 6}, "alpha_pattern": {"proj": 3.0, "blocks.1.*": 5.0}}
CASES = {
    "dinov2": ("tiny_dinov2", "lora", {"targets": ALL}, {"train_patch_embed": True}, "linear"),
    "registers": ("tiny_reg4", "lora", {"use_rslora": True}, {"train_patch_embed": True}, "linear"),
    "swiglu": ("tiny_swiglu", "lora", {"targets": ("q", "v", "fc1", "fc2")}, {}, "linear"),
    "clip": ("tiny_clip", "lora", {"targets": ALL}, {"train_patch_embed": True}, "linear"),
    "clip h": ("tiny_clip_h", "lora", {"targets": ALL}, {}, "linear"),
    "dinov3": ("tiny_dinov3", "lora", {"targets": ALL}, {"train_patch_embed": True}, "linear"),
    "dinov3 gated": ("tiny_dinov3_gated", "dalora", {"targets": ("q", "v", "fc1", "fc2")}, {}, "linear"),
    "dinov3 7b": ("tiny_dinov3_unbiased", "lora", {"targets": ("q", "v", "proj")}, {}, "linear"),
    "siglip": ("tiny_siglip", "lora", {"targets": ALL}, {"train_patch_embed": True}, "linear"),
    "siglip patterns": ("tiny_siglip", "lora", {"targets": ALL, "blocks": (1,), "rank_pattern": {"fc1": 2}}, {},
                        "none"),
    "clip projected": ("tiny_clip", "lora", {}, {"feature": "projected"}, "none"),
    "dalora": ("tiny_reg4", "dalora", {"router": "block:1"}, {"train_patch_embed": True}, "linear"),
    "patterns": ("tiny_dinov2", "lora", {"targets": ("q", "v", "proj", "fc1"), **PATTERNS}, {}, "linear"),
    "clip patterns": ("tiny_clip", "lora", {"targets": ALL, "blocks": (1,), "rank_pattern": {"qkv": 2}}, {}, "linear"),
    "dalora patterns": ("tiny_reg4", "dalora", {"targets": ALL, "use_rslora": True, "rank_pattern": {"qkv": 6},
                                                "alpha_pattern": {"blocks.0.mlp.fc1": 3.0}}, {}, "linear"),
}  # fmt: skip


@pytest.fixture
def made(tmp_path):
    """made(case): (model of a run on synthetic published weights, their folder)."""

    def build(case):
        name, kind, adapter, backbone, head = CASES[case]
        finished.write_backbone(tmp_path / "published", ROWS[name])
        config = models.replace(models.config(kind, **adapter), "head", kind=head)
        settings = BackboneConfig(name, str(tmp_path / "published"), SIZE, **backbone)
        model = build_model(dataclasses.replace(config, backbone=settings), None, MESH)
        return dataclasses.replace(model, trainable=models.made(model.trainable, seed=1)), tmp_path / "published"

    return build


def made_images() -> np.ndarray:
    return np.random.default_rng(3).standard_normal((3, SIZE, SIZE, 3)).astype(np.float32)


def ours(model) -> np.ndarray:
    with jax.default_matmul_precision("highest"):
        embed = jax.jit(lambda f, t, x: model.recognizer.embed(f, t, x).embedding)
        return np.asarray(embed(model.frozen, model.trainable, jnp.asarray(made_images())))


def theirs(model, folder, **more) -> np.ndarray:
    """The embedding by a torch model and the head's file."""
    with torch.no_grad():
        out = model(pixel_values=torch.from_numpy(made_images()).permute(0, 3, 1, 2), **more)
        feature = out.image_embeds if hasattr(out, "image_embeds") else out.pooler_output
        if (folder / "head.safetensors").exists():
            head = load_file(folder / "head.safetensors")
            feature = torch.nn.functional.linear(feature, head["weight"], head["bias"])
    return feature.numpy()


def load(folder, name, **more):
    """A transformers model whose tensors match the file's exactly."""
    model, info = getattr(transformers, name).from_pretrained(folder, output_loading_info=True, **more)
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    return model.eval()


@pytest.mark.parametrize("case", CASES)
def test_merged_weights_embed_alike_in_transformers(case, made, tmp_path):
    model, _ = made(case)
    mix = (0.2, 0.3, 0.5) if model.recognizer.num_domains else (1.0,)
    out = tmp_path / "merged"
    out.mkdir()
    merging.write_merged(model, out, mix=mix)
    (name,) = json.loads((out / "config.json").read_text())["architectures"]
    reference = merging.fold(model, mix) if model.recognizer.num_domains else model
    assert models.relative(theirs(load(out, name), out), ours(reference)) <= TOLERANCE


def experts(model, out, layout):
    """(folder of each adapter, the model that it must equal)."""
    write_peft(model, out, layout=layout)
    if not model.recognizer.num_domains:
        return [(out, model)]
    result = []
    for folder, expert in folders_of(model.recognizer.config.adapter).items():
        # Only one expert in every block: its columns as plain LoRA.
        columns = expert.columns
        adapter = {
            t: {"a": f["a"][..., columns], "b": f["b"][:, columns]} for t, f in model.trainable["adapter"].items()
        }
        config = models.replace(model.recognizer.config, "adapter", kind="lora")
        trainable = {**model.trainable, "adapter": adapter}
        recognizer = dataclasses.replace(model.recognizer, config=config)
        result.append((out / folder, dataclasses.replace(model, recognizer=recognizer, trainable=trainable)))
    return result


@pytest.mark.parametrize("case", CASES)
def test_adapters_embed_alike_in_peft(case, made, tmp_path):
    model, published = made(case)
    out = tmp_path / "peft"
    out.mkdir()
    name = model_class(model.recognizer.spec, model.recognizer.config.backbone.feature)
    more = positions(model)
    plain = theirs(load_tower(published, name), out, **more) if case != "clip projected" else None
    for folder, reference in experts(model, out, VERSION):
        adapted = peft.PeftModel.from_pretrained(load_tower(published, name), folder).eval()
        file, loaded = load_file(folder / "adapter_model.safetensors"), peft.get_peft_model_state_dict(adapted)
        assert file.keys() == loaded.keys()
        assert all(torch.equal(file[key], loaded[key]) for key in file)
        layers = sum(isinstance(module, peft.tuners.lora.LoraLayer) for module in adapted.modules())
        assert layers == sum("lora_A" in key for key in file)
        embedding = theirs(adapted, out, **more)
        assert models.relative(embedding, ours(reference)) <= TOLERANCE
        assert plain is None or models.relative(embedding, plain) > 0.01


def positions(model):
    """What CLIP and SigLIP have to be told at another size."""
    return {"interpolate_pos_encoding": True} if model.recognizer.spec.family in ("clip", "siglip") else {}


# Backbone -> the modules that PEFT's user names, and our targets; without DINOv2, whose run is in test_twin_run.
MADE_IN_PEFT = {
    "tiny_clip_h": (["q_proj", "v_proj", "fc1", "fc2"], ("q", "v", "fc1", "fc2")),
    "tiny_dinov3": (["q_proj", "k_proj", "o_proj", "up_proj", "down_proj"], ("q", "k", "proj", "fc1", "fc2")),
    "tiny_dinov3_gated": (["v_proj", "gate_proj", "up_proj"], ("v", "fc1")),
    "tiny_siglip": (["q_proj", "v_proj", "self_attn.out_proj"], ("q", "v", "proj")),
}


@pytest.mark.skipif(VERSION == "v4", reason="modules are named as in version 5")
@pytest.mark.parametrize("name", MADE_IN_PEFT)
def test_a_run_starts_where_an_adapter_of_peft_is(name, tmp_path):
    modules, targets = MADE_IN_PEFT[name]
    finished.write_backbone(tmp_path / "published", ROWS[name])
    tower = load_tower(tmp_path / "published", model_class(ROWS[name], "cls"))
    settings = peft.LoraConfig(r=3, lora_alpha=6, target_modules=modules, init_lora_weights=False)
    torch.manual_seed(0)
    adapted = peft.get_peft_model(tower, settings).eval()
    adapted.save_pretrained(tmp_path / "adapter")
    rank = 6 if "gated" in name else 3  # its two halves share our fc1
    config = models.config("lora", targets=targets, rank=rank, alpha=2.0 * rank, init_from=str(tmp_path / "adapter"))
    config = models.replace(config, "head", kind="none")
    config = dataclasses.replace(config, backbone=BackboneConfig(name, str(tmp_path / "published"), SIZE))
    model = build_model(config, None, MESH)
    assert models.relative(ours(model), theirs(adapted, tmp_path, **positions(model))) <= TOLERANCE


def load_tower(folder, name):
    """The base model; a tower without a projection ignores the file's projection."""
    model, info = getattr(transformers, name).from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"] and not info["mismatched_keys"]
    assert set(info["unexpected_keys"]) <= {"visual_projection.weight"}
    return model.eval()


V4 = {"q_proj": "attention.query", "k_proj": "attention.key", "v_proj": "attention.value", "o_proj": "output.dense"}


@pytest.mark.skipif(VERSION == "v4", reason="compares the names of version 5 with those of 4")
@pytest.mark.parametrize("case", ["dinov2", "registers", "clip", "dalora"])
def test_the_names_of_version_4_are_those_of_5_renamed_back(case, made, tmp_path):
    model, _ = made(case)
    for layout in ("v4", "v5"):
        (tmp_path / layout).mkdir()
        experts(model, tmp_path / layout, layout)
    folder = "domain_1" if case == "dalora" else "."
    v4, v5 = (load_file(tmp_path / layout / folder / "adapter_model.safetensors") for layout in ("v4", "v5"))

    def renamed(key: str) -> str:
        if case == "clip":
            return key.replace("base_model.model.", "base_model.model.vision_model.")
        return re.sub(r"attention\.(\w_proj)", lambda found: f"attention.{V4[found[1]]}", key)

    assert v4.keys() == {renamed(key) for key in v5}
    assert all(torch.equal(v4[renamed(key)], v5[key]) for key in v5)


@pytest.mark.skipif(VERSION == "v4", reason="version 4 has the names of layout v4")
def test_peft_refuses_the_names_of_version_4_on_version_5(made, tmp_path):
    model, published = made("registers")
    (tmp_path / "peft").mkdir()
    write_peft(model, tmp_path / "peft", layout="v4")
    with pytest.raises(ValueError, match=r"(?i)target modules"):
        peft.PeftModel.from_pretrained(load_tower(published, "Dinov2WithRegistersModel"), tmp_path / "peft")
