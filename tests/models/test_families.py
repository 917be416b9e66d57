# SPDX-License-Identifier: Apache-2.0
"""What families besides DINOv2 and CLIP do differently: rotary positions, token pooling, their own heads."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adaptface_jax.config.overrides import thawed
from adaptface_jax.config.schema import Config
from adaptface_jax.core import trees
from adaptface_jax.core.errors import InputError
from adaptface_jax.export.merged import fold
from adaptface_jax.models import settings
from adaptface_jax.models.layers.attend import ATTEND, attend_cudnn
from adaptface_jax.models.layers.rotary import rotation
from adaptface_jax.models.specs import HALF, BackboneSpec, backbone_spec, check_size
from adaptface_jax.training.optim import decay_mask
from adaptface_jax.training.recognition.model import Model
from tests import made_models as models

# At models.SIZE, 28 px: 2 x 2 patches of 14, and for the face model of 13, with its border cropped.
SPECS = {
    "dinov3": BackboneSpec("dinov3", 32, 2, 2, 64, 14, 28, 2, norm_eps=1e-5),
    "siglip": BackboneSpec("siglip", 32, 2, 2, 64, 14, 28, activation="gelu_tanh", stats=HALF),
    "face": BackboneSpec("face", 32, 2, 2, 64, 13, 28, activation="relu6", norm_eps=1e-5, embedding=24, stats=HALF),
}
EACH = pytest.mark.parametrize("family", SPECS)
TARGETS = ("q", "k", "v", "proj", "fc1", "fc2")


def config(kind: str, **adapter):
    made = models.config(kind, **adapter)
    return dataclasses.replace(made, head=dataclasses.replace(made.head, kind="auto"))


@functools.cache
def built(family: str, kind: str, **adapter):
    """(recognizer, frozen, trainable), every value away from its initial one, and valid variances."""
    recognizer, frozen, trainable = models.build(config(kind, **adapter), spec=SPECS[family])
    return recognizer, positive(frozen), models.made(trainable, seed=1)


def positive(tree):
    flat = trees.flatten(tree)
    return trees.unflatten({path: jnp.abs(x) if path.endswith("/var") else x for path, x in flat.items()})


@functools.cache
def embedded(family: str, kind: str, attend: str = "each", **adapter):
    recognizer, frozen, trainable = built(family, kind, **adapter)
    changed = models.replace(recognizer.config, "backbone", attention=attend)
    recognizer = dataclasses.replace(recognizer, config=changed)
    return jax.jit(lambda images: recognizer.embed(frozen, trainable, images))(models.images())


@EACH
def test_a_face_model_s_embedding_is_its_own(family):
    recognizer, _, trainable = built(family, "lora", targets=TARGETS)
    own = family == "face"
    assert ("head" in trainable) != own
    assert recognizer.embedding_dim == (24 if own else 16)
    assert embedded(family, "lora", targets=TARGETS).embedding.shape == (4, recognizer.embedding_dim)


@EACH
def test_every_way_of_attention_gives_the_same(family):
    each, whole = (embedded(family, "lora", attend, targets=TARGETS).embedding for attend in ("each", "whole"))
    assert models.relative(each, whole) <= 1e-5


def test_cudnn_s_way_is_given_turned_queries_and_keys(monkeypatch):
    """Its padding and masks, by the same JAX function on any device."""
    fused = functools.partial(attend_cudnn, implementation="xla")
    monkeypatch.setitem(ATTEND, "each", fused)
    embedded.cache_clear()
    fused_one = embedded("dinov3", "lora", "each", targets=("qkv", "proj")).embedding
    embedded.cache_clear()
    assert models.relative(fused_one, embedded("dinov3", "lora", "whole", targets=("qkv", "proj")).embedding) <= 1e-5


def test_a_fused_adapter_is_its_thirds_where_queries_and_keys_are_turned():
    recognizer, frozen, trainable = built("dinov3", "lora", targets=("qkv",))
    factor = trainable["adapter"]["qkv"]
    thirds = zip("qkv", jnp.split(factor["b"], 3, axis=-1), strict=True)
    parted = trainable | {"adapter": {name: {"a": factor["a"], "b": b} for name, b in thirds}}
    changed = dataclasses.replace(recognizer, config=models.replace(recognizer.config, "adapter", targets=tuple("qkv")))
    found = changed.embed(frozen, parted, models.images()).embedding
    assert models.relative(found, recognizer.embed(frozen, trainable, models.images()).embedding) <= 1e-5


@EACH
@pytest.mark.parametrize("router", ["frozen", "block:1"])
def test_both_routers_see_every_family(family, router):
    """The frozen one sees the backbone's feature (for face models the embedding); an inner one the mean of all
    tokens."""
    recognizer, _, trainable = built(family, "dalora", router=router)
    seen = trainable["router"]["fc1"]["kernel"].shape[0]
    assert seen == (recognizer.feature_dim if router == "frozen" else recognizer.spec.width)
    gate = embedded(family, "dalora", router=router).gate
    np.testing.assert_allclose(gate.sum(axis=1), 1, rtol=1e-5)
    assert np.ptp(gate, axis=0).max() > 1e-4, "it differs from image to image"


@EACH
def test_merged_it_computes_the_same(family):
    recognizer, frozen, trainable = built(family, "lora", targets=TARGETS)
    merged = fold(Model(recognizer, frozen, trainable, {"name": "tiny", "source": "x", "sha256": None}), (1.0,))
    found = merged.recognizer.embed(merged.frozen, merged.trainable, models.images()).embedding
    assert models.relative(found, embedded(family, "lora", targets=TARGETS).embedding) <= 1e-5


def test_moments_are_not_trained():
    """Neither by gradients nor by weight decay, while the rest of the backbone is."""
    recognizer, frozen, trainable = built("face", "full")
    trainable = trainable | {"backbone": positive(trainable["backbone"])}

    def loss(tree):
        return jnp.sum(jnp.square(recognizer.embed(frozen, tree, models.images()).embedding))

    gradient, decays = (trees.flatten(tree) for tree in (jax.grad(loss)(trainable), decay_mask(trainable)))
    moments = {path for path in gradient if path.endswith(("/mean", "/var"))}
    assert len(moments) == 4
    for path, of in gradient.items():
        if path.startswith("backbone/"):
            assert bool(np.abs(of).max() > 0) == (path not in moments), path
            assert not (path in moments and decays[path])


def test_rotating_keeps_lengths_and_leaves_other_tokens_unchanged():
    x = jnp.asarray(np.random.default_rng(0).standard_normal((2, 3 + 9, 2, 8)), jnp.float32)
    turned = rotation(3, 8)(x)
    np.testing.assert_array_equal(turned[:, :3], x[:, :3])
    np.testing.assert_allclose(jnp.linalg.norm(turned, axis=-1), jnp.linalg.norm(x, axis=-1), rtol=1e-5)
    np.testing.assert_allclose(turned[:, 3 + 4], x[:, 3 + 4], atol=1e-6)  # the center patch is at 0, 0


def test_products_of_rotated_queries_and_keys_depend_only_on_their_distance():
    """In each direction: the same query and key one patch apart have the same product anywhere."""
    rng = np.random.default_rng(1)
    q, k = (jnp.broadcast_to(jnp.asarray(rng.standard_normal(16), jnp.float32), (1, 25, 1, 16)) for _ in "qk")
    turn = rotation(5, 16)
    products = (turn(q)[0, :, 0] @ turn(k)[0, :, 0].T).reshape(5, 5, 5, 5)
    for row in range(4):
        for column in range(4):
            np.testing.assert_allclose(products[row, column, row + 1, column + 1], products[0, 0, 1, 1], rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "good", "bad", "said"),
    [
        ("insightface_vitb9", [112], 224, "224 is not 112, the one size that insightface_vitb9 takes"),
        ("cvlface_vitb8", [112], 120, "120 is not 112"),
        (
            "siglip_so400m14",
            [384, 378, 224],
            380,
            "not a multiple of siglip_so400m14's patch size 14; the nearest is 378",
        ),
        ("dinov3_vits16", [224, 112, 256], 225, "not a multiple of dinov3_vits16's patch size 16; the nearest is 224"),
    ],
)
def test_sizes(name, good, bad, said):
    spec = backbone_spec(name)
    for size in good:
        check_size("backbone.image_size", size, name, spec)
    with pytest.raises(InputError, match=f"^backbone.image_size: {bad}.*{said.partition(' ')[2]}"):
        check_size("backbone.image_size", bad, name, spec)


@pytest.mark.parametrize(
    ("name", "size", "kind"),
    [
        ("insightface_vits9", 112, "none"),
        ("cvlface_vitb8", 112, "none"),
        ("dinov3_vitb16", 224, "linear"),
        ("siglip_so400m14", 384, "linear"),
        ("dinov2_vitg14_reg4", 224, "linear"),
        ("demo", 112, "linear"),
    ],
)
def test_a_size_and_a_head_left_to_the_backbone_are_resolved_before_anything_is_recorded(name, size, kind):
    asked = thawed(Config())
    asked.backbone.name = name
    assert settings.checked(asked).backbone.image_size == size
    assert settings.checked(asked).head.kind == kind
    asked.head.kind = "linear"
    assert settings.checked(asked).head.kind == "linear"
