# SPDX-License-Identifier: Apache-2.0
"""The loss of a classifier: augment, normalize, cross-entropy."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from adaptface_jax.config.classification import AugmentConfig
from adaptface_jax.data.augmentation.augment import preprocess
from adaptface_jax.data.augmentation.classification import augment_images
from adaptface_jax.losses.cross_entropy import cross_entropy, right
from adaptface_jax.models.classifier import Classifier
from adaptface_jax.models.specs import ImageStats
from adaptface_jax.training.step import Batch, Loss, Metrics


def make_loss(classifier: Classifier, augment: AugmentConfig, stats: ImageStats) -> Loss:
    """Nothing is frozen; the statistics are the moments of batch normalization."""

    def loss(
        trainable: Any, frozen: Any, batch: Batch, statistics: Any, key: jax.Array
    ) -> tuple[jax.Array, tuple[Metrics, Any]]:
        augment_key, dropout_key = jax.random.split(key)
        images = augmented(augment_key, batch["image"], augment)
        pixels = preprocess(images, classifier.config.image_size, stats, classifier.dtype)
        logits, moments = classifier.logits(trainable, statistics, pixels, dropout_key)
        label, weight = batch["label"], batch["weight"]
        total = jnp.mean(cross_entropy(logits, label) * weight)
        return total, ({"loss": total, "accuracy": jnp.mean(right(logits, label) * weight)}, moments)

    return loss


def augmented(key: jax.Array, images: jax.Array, augment: AugmentConfig) -> jax.Array:
    """uint8 [B, S, S, 3] -> the same, changed as the settings say."""
    return augment_images(
        key,
        images,
        flip=augment.flip,
        rotation=augment.rotation,
        brightness=augment.brightness,
        contrast=augment.contrast,
        saturation=augment.saturation,
        hue=augment.hue,
        crop_scale=augment.crop_scale,
        crop_ratio=augment.crop_ratio,
    )
