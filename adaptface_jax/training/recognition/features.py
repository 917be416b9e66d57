# SPDX-License-Identifier: Apache-2.0
"""The frozen model's features of images that stay as they are, each computed once and not again in every step.

The frozen router (`adapter.router=frozen`) and `loss.keep_weight` take a pass of the frozen backbone in every step.
Whatever else is trained, its result depends on the image alone: without augmentation an image has one such feature,
and two if it is mirrored at random. They are computed before the first step of every session, in the order of the
records and in batches of one size, so that a resumed run has the same bits; a batch carries its rows.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from adaptface_jax.config.schema import AugmentConfig, Config
from adaptface_jax.core.progress import Progress
from adaptface_jax.core.text import byte_size, duration, plural
from adaptface_jax.data.augmentation.augment import preprocess
from adaptface_jax.data.pipeline import in_order
from adaptface_jax.data.record import Source
from adaptface_jax.distributed.compiler import transformer_options
from adaptface_jax.distributed.mesh import sharding
from adaptface_jax.distributed.passes import passes
from adaptface_jax.distributed.processes import process_rows, several
from adaptface_jax.models.adapters import places
from adaptface_jax.models.recognizer import Recognizer
from adaptface_jax.training.step import Batch


@dataclasses.dataclass(frozen=True)
class Demand:
    """Images whose frozen features every step takes.

    setting: that names them. forms: features of an image, 2 if it may be mirrored. bytes: of all features. why_not:
    why each step computes its own, "" if they are computed once.
    """

    setting: str
    source: Source
    forms: int
    bytes: int
    why_not: str

    def line(self) -> str:
        """One line for the header of a run."""
        mirrored = " and their mirror images" if self.forms > 1 else ""
        whose = f"features  the frozen model's of {plural(len(self.source), 'image')} of {self.setting}{mirrored}, "
        if self.why_not:
            return f"{whose}in every step, one more forward pass: {self.why_not}"
        return f"{whose}once before the first step: {byte_size(self.bytes)} of memory, no pass in a step"


def demands(
    recognizer: Recognizer, source: Source, keep: tuple[Source, int] | None, steps: int
) -> tuple[Demand | None, Demand | None]:
    """Of the training set and of the images to keep; None if no step takes their frozen features. steps: of the run."""
    config = recognizer.config
    frozen_router = config.adapter.kind == "dalora" and places.router_block(config.adapter.router) is None
    room, found = config.train.feature_cache * 1e9, list[Demand | None]()

    def demand(setting: str, source: Source, forms: int, seen: int, changed_by: str) -> Demand:
        """seen: images in all steps."""
        size = 4 * len(source) * forms * recognizer.feature_dim
        left = room - sum(other.bytes for other in found if other and not other.why_not)
        why_not = ""
        if not room:
            why_not = "train.feature_cache is 0"
        elif changed_by:
            why_not = f"{changed_by} changes the images"
        elif seen <= forms * len(source):
            why_not = f"the run's steps see only {plural(seen, 'image')}"
        elif size > left:
            why_not = f"{byte_size(size)} are more than train.feature_cache={config.train.feature_cache:g} GB"
        return Demand(setting, source, forms, size, why_not)

    batch = config.train.batch_size
    if frozen_router or (config.loss.keep_weight and keep is None):
        changed_by = changing(config.augment)
        found.append(demand("data.train", source, 1 + config.augment.flip, steps * batch, changed_by))
    else:
        found.append(None)
    found.append(None if keep is None else demand("data.keep", keep[0], 1, steps * keep[1], ""))
    return found[0], found[1]


def changing(augment: AugmentConfig) -> str:
    """The first setting by which an image differs every time, other than in being mirrored; "" if there is none."""
    names = ["randaugment_ops", "shift"]
    names += ["blur", "low_resolution", "jpeg", "cutout"] if augment.worsened else []
    return next((f"augment.{name}" for name in names if getattr(augment, name)), "")


def computed(
    demand: Demand | None, recognizer: Recognizer, frozen: Any, mesh: Mesh, stored_size: int
) -> np.ndarray | None:
    """The features, float32 [N, forms, d], in every process; None unless they are to be computed once.

    Those of an unreadable record are NaN if `data.bad_records` is skip. Raises InputError for one that is not skipped.
    """
    if demand is None or demand.why_not:
        return None
    config, source, began = recognizer.config, demand.source, time.monotonic()
    function = make_features(recognizer, mesh, demand.forms)
    size = part_size(config)
    images = in_order(
        source,
        size,
        stored_size,
        rows=process_rows(size, jax.process_index(), jax.process_count()),
        skip=config.data.bad_records == "skip",
        threads=config.data.threads,
    )
    features, done = np.empty((len(source), demand.forms, recognizer.feature_dim), np.float32), 0
    with Progress(len(source), label="frozen features", unit="image", brief=True) as progress:
        for found, count in passes(lambda batch: function(frozen, batch), images, mesh):
            features[done : done + count] = jax.device_get(found)[:count]
            progress.show(done := done + count)
        progress.write(f"features  {plural(len(source), 'image')} in {duration(time.monotonic() - began)}")
    return features


def part_size(config: Config) -> int:
    """Images per forward pass: as many as a step computes at a time."""
    return config.train.batch_size // config.train.grad_accum


def make_features(recognizer: Recognizer, mesh: Mesh, forms: int) -> Callable[[Any, Batch], jax.Array]:
    """(frozen, {"image" uint8 [B, H, W, 3], "weight" [B]}) -> `plain_feature` of the images, and with 2 forms of their
    mirror images, float32 [B, forms, d]; NaN where the weight is 0."""

    def features(frozen: Any, batch: Batch) -> jax.Array:
        images = batch["image"]
        form = (recognizer.config.backbone.image_size, recognizer.spec.stats, recognizer.dtype)
        each = [preprocess(image, *form) for image in (images, images[:, :, ::-1])[:forms]]
        found = jnp.stack([recognizer.plain_feature(frozen, image) for image in each], axis=1)
        return jnp.where(batch["weight"][:, None, None] > 0, found, jnp.nan)

    replicated, rows = sharding(mesh), sharding(mesh, "batch")
    return jax.jit(
        features,
        in_shardings=(None, rows),
        # Any process may get any record in any epoch.
        out_shardings=replicated if several() else rows,
        compiler_options=transformer_options(recognizer.dtype),
    )
