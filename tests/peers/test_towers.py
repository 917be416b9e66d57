# SPDX-License-Identifier: Apache-2.0
"""DINOv3, SigLIP and the large CLIPs against transformers and timm, on synthetic weights: features, exports, and
training.

Every row has its published width, heads and hidden layer (ViT-7B an eighth of each), and two blocks. InsightFace's and
CVLface's code is not a package: their features and run are goldens (tests/goldens/make_towers.py).
"""

from __future__ import annotations

import dataclasses
import json
import runpy
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adaptface_jax.core import trees
from adaptface_jax.distributed.mesh import make_mesh, sharding
from adaptface_jax.export.tower import Tower, hf_config, model_class, write_tower
from adaptface_jax.losses.margin import init_statistics
from adaptface_jax.models import vit
from adaptface_jax.models.specs import BACKBONES, HALF, BackboneSpec
from adaptface_jax.training import optim
from adaptface_jax.training.recognition.loss import make_loss
from adaptface_jax.training.step import init_state, make_step
from adaptface_jax.weights.loading import load_backbone
from tests import made_models as models

pytestmark = pytest.mark.peers
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

MAKER = runpy.run_path(str(Path(__file__).resolve().parents[1] / "goldens" / "make_backbones.py"))
TOLERANCE = 1e-5
ROWS = [name for name, spec in BACKBONES.items() if spec.family in ("dinov3", "siglip")]
LARGE_CLIP = ["clip_vith14", "clip_vitbigg14"]


def two_blocks(monkeypatch, name, size):
    spec = dataclasses.replace(BACKBONES[name], depth=2, native_size=size)
    if spec.width > 2048:
        eighth = {field: getattr(spec, field) // 8 for field in ("width", "heads", "mlp_width")}
        spec = dataclasses.replace(spec, **eighth)
    for known, other in list(BACKBONES.items()):
        if other.family == spec.family:
            monkeypatch.delitem(BACKBONES, known)
    monkeypatch.setitem(BACKBONES, name, spec)
    return spec


def made_images(size):
    return np.random.default_rng(2).standard_normal((2, size, size, 3)).astype(np.float32)


def feature_of(model, images, projected=False):
    with torch.no_grad():
        output = model(torch.from_numpy(images).permute(0, 3, 1, 2))
    return (output.image_embeds if projected else output.pooler_output).numpy()


def ours(backbone, images, projected=False):
    graph = vit.definition(backbone.spec, images.shape[1])[0]
    with jax.default_matmul_precision("highest"):
        return models.forward(graph, backbone.params, jnp.asarray(images), projected).feature


def built(spec, feature="cls"):
    """The transformers model for that spec, with synthetic weights."""
    settings = hf_config(spec)
    kind = getattr(transformers, model_class(spec, feature))
    return MAKER["fill"](kind(kind.config_class(**{key: x for key, x in settings.items() if key != "model_type"})))


@pytest.mark.parametrize("name", [*ROWS, *LARGE_CLIP])
def test_every_row_computes_what_transformers_does(monkeypatch, tmp_path, name):
    size = 8 * BACKBONES[name].patch_size + (6 if name == "siglip_so400m14" else 0)  # 384 px are 27 patches and 6 px
    projected = name in LARGE_CLIP
    spec = two_blocks(monkeypatch, name, size)
    model = built(spec, "projected" if projected else "cls")
    model.save_pretrained(tmp_path)
    images = made_images(size)
    backbone = load_backbone(str(tmp_path), name, size, feature="projected" if projected else "cls")
    assert models.relative(ours(backbone, images, projected), feature_of(model, images, projected)) <= TOLERANCE


TIMM = {
    "vit_small_patch16_dinov3_qkvb": "dinov3_vits16",
    "vit_small_plus_patch16_dinov3": "dinov3_vits16plus",
    "vit_base_patch16_siglip_224": "siglip_vitb16",
    "vit_base_patch32_siglip_256": "siglip_vitb32",
}


@pytest.mark.parametrize("architecture", TIMM)
def test_timm_s_own_models(monkeypatch, tmp_path, architecture):
    timm = pytest.importorskip("timm")
    save_file = pytest.importorskip("safetensors.torch").save_file
    name = TIMM[architecture]
    size = BACKBONES[name].native_size
    more = {"global_pool": "token"} if "dinov3" in architecture else {}
    model = MAKER["fill"](timm.create_model(architecture, depth=2, num_classes=0, **more))
    two_blocks(monkeypatch, name, size)
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    settings: dict = {"architecture": architecture, "num_classes": 0, "global_pool": "avg" if more else "map"}
    (tmp_path / "config.json").write_text(
        json.dumps({**settings, "pretrained_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3}})
    )
    images = made_images(size)
    with torch.no_grad():
        expected = model(torch.from_numpy(images).permute(0, 3, 1, 2)).numpy()
    assert models.relative(ours(load_backbone(str(tmp_path), name, size), images), expected) <= TOLERANCE


SMALL = {
    "dinov3": BackboneSpec("dinov3", 32, 3, 2, 64, 14, 28, 2, norm_eps=1e-5),
    "dinov3 gated": BackboneSpec("dinov3", 32, 2, 2, 48, 14, 28, 2, "swiglu", norm_eps=1e-5),
    "siglip": BackboneSpec("siglip", 32, 3, 2, 64, 14, 28, activation="gelu_tanh", stats=HALF),
}


@pytest.mark.parametrize("family", SMALL)
def test_transformers_loads_exports_completely(tmp_path, family):
    spec = SMALL[family]
    params = models.made(vit.random_params(spec, 28, 0))
    write_tower(tmp_path, Tower(spec, params, 28, "cls"))
    kind = getattr(transformers, model_class(spec, "cls"))
    model, loading = kind.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(loading[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    images = np.array(models.images())  # torch warns about read-only arrays
    with jax.default_matmul_precision("highest"):
        found = models.forward(vit.definition(spec, 28)[0], params, images).feature
    assert models.relative(found, feature_of(model.eval(), images)) <= TOLERANCE


STEPS, CLASSES, BATCH = 20, 10, 16


@pytest.mark.parametrize("family", ["dinov3", "siglip"])
def test_twenty_steps_of_full_training_agree(tmp_path, family):
    """Full fine-tuning: every gradient, including rotary queries, biases without keys, probe and tanh GELU."""
    spec = SMALL[family]
    config = models.replace(models.config("full"), "head", kind="none")
    config = models.replace(config, "augment", flip=False)
    config = models.replace(config, "train", learning_rate=1e-4, schedule="constant", weight_decay=0.0)
    mesh = make_mesh()
    recognizer, frozen, trainable = models.build(config, CLASSES, spec=spec)
    write_tower(tmp_path, Tower(spec, trainable["backbone"], 28, "cls"))
    twin = getattr(transformers, model_class(spec, "cls")).from_pretrained(tmp_path).eval()
    centers = torch.nn.Parameter(torch.from_numpy(np.array(trainable["centers"])))
    unused = {"embeddings.mask_token"}
    theirs = torch.optim.AdamW(
        [*(x for name, x in twin.named_parameters() if name not in unused), centers], lr=1e-4, weight_decay=0.0
    )
    rate = optim.schedule(config.train, STEPS, STEPS)
    optimizer = optim.optimizer(config.train, rate)
    step = make_step(make_loss(recognizer, mesh), optimizer, rate, mesh, config.train.grad_accum)
    assert sum(x.numel() for group in theirs.param_groups for x in group["params"]) == trees.count(trainable)
    state = jax.device_put(init_state(trainable, optimizer, init_statistics()), sharding(mesh))
    mean, std = np.float32(spec.stats.mean), np.float32(spec.stats.std)
    unit = torch.nn.functional.normalize
    found, expected = [], []
    with jax.default_matmul_precision("highest"):
        for number in range(STEPS):
            batch = models.batch(BATCH, CLASSES, number)
            batch["image"] = batch["image"][:, :28, :28]
            state, metrics = step(frozen, state, jax.device_put(batch, sharding(mesh, "batch")), jax.random.key(0))
            found.append(float(metrics["loss"]))
            pixels = (batch["image"].astype(np.float32) / 255 - mean) / std
            feature = twin(torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy())).pooler_output
            labels = torch.from_numpy(batch["label"]).long()
            margin = config.loss.margin * torch.nn.functional.one_hot(labels, CLASSES)
            cosine = unit(feature) @ unit(centers).T
            loss = torch.nn.functional.cross_entropy(config.loss.scale * (cosine - margin), labels)
            theirs.zero_grad()
            loss.backward()
            theirs.step()
            expected.append(float(loss.detach()))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
