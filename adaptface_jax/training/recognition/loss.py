# SPDX-License-Identifier: Apache-2.0
"""The loss of face training: augment, embed, margin on the target logit, balance of the gates, what is kept."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from adaptface_jax.config.schema import Config
from adaptface_jax.data.augmentation.augment import augment, mirrored, preprocess
from adaptface_jax.data.augmentation.quality import Quality
from adaptface_jax.losses.keep import feature_distance
from adaptface_jax.losses.margin import NormStatistics
from adaptface_jax.losses.sharded import class_loss
from adaptface_jax.models.adapters import router
from adaptface_jax.models.recognizer import Recognizer
from adaptface_jax.training.step import Batch, Loss, Metrics


def make_loss(recognizer: Recognizer, mesh: Mesh) -> Loss:
    """Its statistics are AdaFace's (`losses.margin.NormStatistics`)."""
    config = recognizer.config

    def loss(
        trainable: Any,
        frozen: Any,
        batch: Batch,
        statistics: NormStatistics,
        key: jax.Array,
        row_weights: jax.Array | None = None,
    ) -> tuple[jax.Array, tuple[Metrics, NormStatistics]]:
        augment_key, dropout_key = jax.random.split(key)
        change = config.augment
        images = augment(
            augment_key,
            batch["image"],
            flip=change.flip,
            randaugment_ops=change.randaugment_ops,
            randaugment_magnitude=change.randaugment_magnitude,
            shift=change.shift,
            quality=Quality(change.worsened, change.blur, change.low_resolution, change.jpeg, change.cutout),
        )
        form = (config.backbone.image_size, recognizer.spec.stats, recognizer.dtype)
        images = preprocess(images, *form)
        plain = None
        if "feature" in batch:
            plain = batch["feature"][:, 0]
            if change.flip:
                plain = jnp.where(mirrored(augment_key, len(plain))[:, None], batch["feature"][:, 1], plain)
        out = recognizer.embed(frozen, trainable, images, dropout_key, plain)
        centers, labels = trainable["centers"], batch["label"]
        margin_key = jax.random.fold_in(dropout_key, 2)
        margin = class_loss(config.loss, out.embedding, centers, labels, statistics, mesh, row_weights, margin_key)
        weight = batch["weight"]
        total = jnp.mean(margin.loss * weight)
        metrics = {"loss": total, "target_cosine": jnp.mean(margin.target_cosine * weight)}
        metrics["margin"] = jnp.mean(margin.margin * weight)
        if margin.penalty is not None:
            metrics["norm_penalty"] = jnp.mean(margin.penalty * weight)
            total = total + metrics["norm_penalty"]
        weights = config.adapter
        if config.loss.keep_weight:
            old, before, after = images, plain, out
            if "keep" in batch:
                old = preprocess(batch["keep"], *form)
                before = batch["keep_feature"][:, 0] if "keep_feature" in batch else None
                after = recognizer.embed(frozen, trainable, old, jax.random.fold_in(dropout_key, 1), before)
            if before is None:
                before = recognizer.plain_feature(frozen, old)
            metrics["keep"] = feature_distance(after.feature, before, old_rows(config, batch, len(before)))
            total = total + config.loss.keep_weight * metrics["keep"]
            teaches = weights.null_expert and "keep" in batch and weights.domain_loss_weight
            if teaches and after.gate is not None:
                new = None if "domain" in batch else out.gate
                old_or_new = router.old_or_new_loss(after.gate, new, weight, weights.null_weight)
                metrics["gate/keep_mean"] = jnp.mean(after.gate[:, -1])
                total = total + weights.domain_loss_weight * old_or_new
        if out.gate is not None:
            balance = router.balance(out.gate, weight)
            total = total + weights.balance_weight * balance
            metrics |= {"gate/balance": balance, "gate/entropy": router.entropy(out.gate, weight)}
            if "domain" in batch and weights.domain_loss_weight:
                domain = router.domain_loss(out.gate, batch["domain"])
                total = total + weights.domain_loss_weight * domain
                metrics["gate/domain_loss"] = domain
            metrics |= {f"gate/mean_{k}": jnp.mean(out.gate[:, k] * weight) for k in range(recognizer.num_domains)}
        if total is not metrics["loss"]:
            metrics["total_loss"] = total
        return total, (metrics, margin.statistics)

    return loss


def old_rows(config: Config, batch: Batch, count: int) -> jax.Array:
    """The weight of each row whose feature is kept, float32 [count].

    Equal for all of `data.keep`; of the batch itself those labeled as the null expert's, if any can be, else
    all that are valid.
    """
    if "keep" in batch:
        return jnp.ones(count, jnp.float32)
    if config.adapter.null_expert and "domain" in batch:
        return batch["weight"] * batch["domain"][:, -1]
    return batch["weight"]
