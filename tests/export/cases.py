# SPDX-License-Identifier: Apache-2.0
"""Small synthetic models whose exports are compared with the recognizer itself, and its outputs for some images."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from adaptface_jax.distributed.mesh import make_mesh
from adaptface_jax.evaluation.embedding import make_embed
from adaptface_jax.models.specs import CLIP, BackboneSpec
from adaptface_jax.training.recognition.model import Model
from tests import made_models as models

STORED = 32  # pixels of the stored images; the models see models.SIZE
BATCHES = (1, 3, 8, 17)
TOLERANCE = 1e-5
TINY_CLIP = BackboneSpec(
    "clip", 32, 3, 2, 64, 14, 56, activation="quick_gelu", norm_eps=1e-5, projection=24, stats=CLIP
)  # fmt: skip

dalora = models.config("dalora", router="block:1", router_input="mean_std", shared_rank=2)
CASES = {
    "dinov2 lora": (models.SPEC, models.replace(models.config("lora"), "backbone", train_patch_embed=True)),
    "dinov2 dalora frozen": (models.SPEC, models.config("dalora", router="frozen")),
    "dinov2 dalora null": (models.SPEC, models.config("dalora", router="frozen", null_expert=True, gate="top1")),
    "clip dalora block": (TINY_CLIP, models.replace(dalora, "backbone", feature="projected")),
    "clip lora no head": (TINY_CLIP, models.replace(models.config("lora", targets=("q", "v")), "head", kind="none")),
}


@functools.cache
def model(case: str) -> Model:
    """The model of a case, every parameter away from its initial value, with class centers."""
    spec, settings = CASES[case]
    recognizer, frozen, trainable = models.build(settings, spec=spec)
    return Model(
        recognizer, frozen, models.made(trainable, seed=1), {"name": "tiny", "source": "owner/name", "sha256": "0" * 64}
    )


@functools.cache
def expected(case: str, preprocess: bool) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """(images, outputs by name) of the largest batch: `make_embed` for stored images, else `Recognizer.embed`."""
    made = model(case)
    rng = np.random.default_rng(7)
    if preprocess:
        images = rng.integers(0, 256, (max(BATCHES), STORED, STORED, 3), dtype=np.uint8)
        embed = make_embed(made.recognizer, make_mesh(jax.devices()[:1]))
        result = embed(made.frozen, made.trainable, images, False)
    else:
        images = np.asarray(models.images(max(BATCHES), seed=7))
        result = jax.jit(lambda x: made.recognizer.embed(made.frozen, made.trainable, x)._asdict())(images)
    raw = np.asarray(result["embedding"])
    outputs = {"embedding": raw / np.linalg.norm(raw, axis=1, keepdims=True)}
    if made.recognizer.num_domains:
        outputs["gates"] = np.asarray(result["gate"])
    return images, outputs


def bfloat16(made: Model) -> Model:
    """The same model as stored on an accelerator."""
    frozen = jax.tree.map(lambda x: x.astype(jnp.bfloat16), made.frozen)
    return dataclasses.replace(
        made, frozen=frozen, recognizer=dataclasses.replace(made.recognizer, dtype=jnp.bfloat16)
    )  # fmt: skip
