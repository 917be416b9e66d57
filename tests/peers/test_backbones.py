"""Full-size DINOv2-S/14 (with and without registers) and CLIP B/16 against transformers, on synthetic weights.

Each model is built from its config, saved, converted with the command's function and loaded again.
"""

from __future__ import annotations

import dataclasses
import runpy
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from adaptface_jax.convert.work import convert
from adaptface_jax.embed import __main__ as embed
from adaptface_jax.models import vit
from adaptface_jax.models.positions import resize_positions
from adaptface_jax.models.specs import BACKBONES, POSITION_RULES
from adaptface_jax.weights.formats.reader import open_weights
from adaptface_jax.weights.loading import load_backbone
from adaptface_jax.weights.names import engine
from tests import made_models as models
from tests.running import call

pytestmark = pytest.mark.peers
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

MAKER = runpy.run_path(str(Path(__file__).resolve().parents[1] / "goldens" / "make_backbones.py"))
TOLERANCE = 1e-5


def dinov2(**more):
    return transformers.Dinov2Model(transformers.Dinov2Config(**DINOV2, **more))


def dinov2_with_registers():
    return transformers.Dinov2WithRegistersModel(
        transformers.Dinov2WithRegistersConfig(**DINOV2, num_register_tokens=4)
    )


def clip():
    config = transformers.CLIPVisionConfig(
        hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12, image_size=224,
        patch_size=16, projection_dim=512,
    )  # fmt: skip
    return transformers.CLIPVisionModelWithProjection(config)


DINOV2 = {"hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 6, "image_size": 518, "patch_size": 14}
MODELS = {"dinov2_vits14": dinov2, "dinov2_vits14_reg4": dinov2_with_registers, "clip_vitb16": clip}


CASES = [(name, size) for name in MODELS for size in sorted({112, 224, BACKBONES[name].native_size})]


@pytest.fixture(scope="module")
def converted(request, tmp_path_factory):
    """(name, the model of transformers, its converted folder)."""
    model = MAKER["fill"](MODELS[request.param]())
    folder = tmp_path_factory.mktemp(request.param)
    model.save_pretrained(folder / "hf")
    convert(str(folder / "hf"), folder / "ours")
    shutil.rmtree(folder / "hf")
    yield request.param, model, folder / "ours"
    shutil.rmtree(folder)


def made_images(size: int) -> np.ndarray:
    return np.random.default_rng(2).standard_normal((2, size, size, 3)).astype(np.float32)


@pytest.mark.parametrize(("converted", "size"), CASES, indirect=["converted"])
def test_features_and_every_block(converted, size):
    name, model, folder = converted
    images = made_images(size)
    expected = MAKER["compute"](model, images)
    backbone = load_backbone(str(folder), name, size)
    graph = vit.definition(backbone.spec, size)[0]
    with jax.default_matmul_precision("highest"):
        features = models.forward(graph, backbone.params, jnp.asarray(images), False, True)
    errors = [models.relative(ours, theirs) for ours, theirs in zip(features.blocks, expected["blocks"], strict=True)]
    final = models.relative(features.feature, expected["feature"])
    assert final <= TOLERANCE
    assert max(errors) <= TOLERANCE
    if "projected" in expected:
        backbone = load_backbone(str(folder), name, size, feature="projected")
        graph = vit.definition(backbone.spec, size)[0]
        with jax.default_matmul_precision("highest"):
            projected = models.forward(graph, backbone.params, jnp.asarray(images), True)
        assert models.relative(projected.feature, expected["projected"]) <= TOLERANCE


@pytest.mark.parametrize("converted", ["dinov2_vits14"], indirect=True)
def test_the_command_sees_images_at_the_model_s_size_as_transformers_does(converted, tmp_path):
    _, model, folder = converted
    (tmp_path / "pictures").mkdir()
    noise = np.random.default_rng(7).integers(0, 256, (2, 224, 224, 3), np.uint8)
    for number, image in enumerate(noise):
        Image.fromarray(image).save(tmp_path / "pictures" / f"{number}.png")
    words = (f"--backbone={folder}", "--image_size=224", "--batch_size=8", "--dtype=float32")
    out = tmp_path / "found.npz"
    assert call(embed, *words, f"--images={tmp_path / 'pictures'}", f"--out={out}") == 0
    processor = transformers.BitImageProcessor(
        size={"shortest_edge": 224}, crop_size={"height": 224, "width": 224}, resample=Image.Resampling.BICUBIC,
        image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225],
    )  # fmt: skip
    pixels = processor([Image.fromarray(image) for image in noise], return_tensors="np")["pixel_values"]
    expected = MAKER["compute"](model, pixels.transpose(0, 2, 3, 1))["feature"]
    with np.load(out) as found:
        assert models.relative(found["features"], expected) <= TOLERANCE


@pytest.mark.parametrize("converted", MODELS, indirect=True)
def test_bfloat16_keeps_the_direction(converted):
    name, model, folder = converted
    images = made_images(224)
    theirs = MAKER["compute"](model, images)["feature"].astype(np.float64)
    backbone = load_backbone(str(folder), name, 224, "bfloat16")
    graph = vit.definition(backbone.spec, 224)[0]
    features = models.forward(graph, backbone.params, jnp.asarray(images, jnp.bfloat16))
    ours = np.asarray(features.feature, np.float64)
    cosine = np.sum(ours * theirs, axis=1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(theirs, axis=1)
    assert cosine.min() >= 0.999


@pytest.mark.parametrize("rule", POSITION_RULES)
@pytest.mark.parametrize("native", [7, 14, 16, 37])
def test_positions_follow_torch(rule, native):
    positions = np.random.default_rng(0).standard_normal((1, 1 + native * native, 16)).astype(np.float32)
    cells = torch.from_numpy(positions[:, 1:]).reshape(1, native, native, 16).permute(0, 3, 1, 2)
    for grid in {1, 2, 8, 14, 16, 31, 40} - {native}:
        scale = (grid + 0.1) / native
        options = {"scale_factor": (scale, scale)} if rule == "dinov2" else {"size": (grid, grid)}
        antialias = rule == "bicubic_antialias"
        resized = torch.nn.functional.interpolate(cells, mode="bicubic", antialias=antialias, **options)
        expected = resized.permute(0, 2, 3, 1).reshape(1, -1, 16).numpy()
        assert models.relative(resize_positions(positions, grid, POSITION_RULES[rule])[:, 1:], expected) <= 5e-6


SMALL = {**MAKER["SMALL"], "hidden_size": 128, "num_hidden_layers": BACKBONES["demo"].depth, "num_attention_heads": 4}
DEMO = {**SMALL, "image_size": 112, "patch_size": 14}


@pytest.mark.parametrize(
    ("kind", "dropped"),
    [
        ("Dinov2Model", {"embeddings.mask_token"}),
        ("Dinov2ForImageClassification", {"dinov2.embeddings.mask_token", "classifier.weight", "classifier.bias"}),
    ],
)
def test_dinov2_in_shards_and_under_a_classifier(kind, dropped, tmp_path):
    getattr(transformers, kind)(transformers.Dinov2Config(**DEMO)).save_pretrained(tmp_path, max_shard_size="500KB")
    assert (tmp_path / "model.safetensors.index.json").exists()
    fit = engine.identify(open_weights(tmp_path).shapes)
    assert (fit.name, set(fit.dropped)) == ("demo", dropped)
    assert load_backbone(str(tmp_path), "demo", 112).spec == BACKBONES["demo"]


def test_clip_as_each_of_its_classes(tmp_path, monkeypatch):
    vision = {**SMALL, "intermediate_size": 512, "projection_dim": 24, "image_size": 112, "patch_size": 14}
    row = {"family": "clip", "activation": "quick_gelu", "norm_eps": 1e-5, "projection": 24}
    monkeypatch.setitem(BACKBONES, "small_clip", dataclasses.replace(BACKBONES["demo"], **row))
    text = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    text |= {"vocab_size": 50, "bos_token_id": 0, "eos_token_id": 1}
    tower = transformers.CLIPVisionConfig(**vision)
    whole = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=24)
    for model, projection in (
        (transformers.CLIPVisionModel(tower), None),
        (transformers.CLIPVisionModelWithProjection(tower), 24),
        (transformers.CLIPModel(whole), 24),
    ):
        folder = tmp_path / type(model).__name__
        model.save_pretrained(folder)
        fit = engine.identify(open_weights(folder).shapes)
        assert (fit.name, fit.spec.projection) == ("small_clip", projection)
        assert all(name.startswith(("text_", "logit_scale")) for name in fit.dropped)
        load_backbone(str(folder), "small_clip", 112)
