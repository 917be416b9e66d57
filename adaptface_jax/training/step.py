"""The training step: augment, embed, margin loss, gradients of the trainable tree, AdamW. One jitted function."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from adaptface_jax.data.augmentation.augment import augment, preprocess
from adaptface_jax.distributed.mesh import sharding, state_shardings
from adaptface_jax.losses.margin import NormStatistics, init_statistics
from adaptface_jax.losses.sharded import class_loss
from adaptface_jax.models.adapters import router
from adaptface_jax.models.recognizer import Recognizer
from adaptface_jax.training.optim import group_norms

Batch = dict[str, jax.Array]  # image uint8 [B, H, W, 3], label int32 [B], domain int32 [B], weight float32 [B]
Metrics = dict[str, jax.Array]  # float32 scalars
StepFunction = jax.stages.Wrapped  # (frozen, TrainState, Batch, key) -> (TrainState, Metrics)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """step int32, trainable tree, optimizer state, AdaFace's norm statistics. The frozen tree is not in here.

    skipped: how many steps changed nothing because a number in them was not finite; skipped_in_a_row: those of them
    that are the latest steps.
    """

    step: jax.Array
    trainable: Any
    opt_state: optax.OptState
    statistics: NormStatistics
    skipped: jax.Array
    skipped_in_a_row: jax.Array


def init_state(trainable: Any, optimizer: optax.GradientTransformation) -> TrainState:
    """The state before the first step."""
    return TrainState(jnp.int32(0), trainable, optimizer.init(trainable), init_statistics(), jnp.int32(0), jnp.int32(0))


def make_loss(recognizer: Recognizer, mesh: Mesh) -> Callable[..., tuple[jax.Array, tuple[Metrics, NormStatistics]]]:
    """loss(trainable, frozen, batch, statistics, key) -> (scalar, (metrics, statistics)).

    Means over the batch are `mean(x * weight)`: the batch's weights are to have the mean 1 (`normalised`).
    """
    config = recognizer.config

    def loss(
        trainable: Any, frozen: Any, batch: Batch, statistics: NormStatistics, key: jax.Array
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
        )
        images = preprocess(images, config.backbone.image_size, recognizer.spec.stats, recognizer.dtype)
        out = recognizer.embed(frozen, trainable, images, dropout_key)
        margin = class_loss(config.loss, out.embedding, trainable["centres"], batch["label"], statistics, mesh)
        weight = batch["weight"]
        total = jnp.mean(margin.loss * weight)
        metrics = {"loss": total, "target_cosine": jnp.mean(margin.target_cosine * weight)}
        metrics["margin"] = jnp.mean(margin.margin * weight)
        if out.gate is not None:
            balance = router.balance(out.gate, weight)
            domain = router.domain_loss(out.gate, batch["domain"])
            weights = config.adapter
            total = total + weights.balance_weight * balance + weights.domain_loss_weight * domain
            entropy = router.entropy(out.gate, weight)
            metrics |= {"gate/balance": balance, "gate/entropy": entropy, "gate/domain_loss": domain}
            metrics |= {f"gate/mean_{k}": jnp.mean(out.gate[:, k] * weight) for k in range(recognizer.num_domains)}
            metrics["total_loss"] = total
        return total, (metrics, margin.statistics)

    return loss


def normalised(weight: jax.Array) -> jax.Array:
    """Weights [B] of the whole batch scaled to the mean 1: exactly themselves where all are 1; all 0 stay 0."""
    return weight * (weight.shape[0] / jnp.maximum(jnp.sum(weight), 1))


def accumulated_gradients(loss: Callable[..., Any], parts: int) -> Callable[..., Any]:
    """Gradients and metrics averaged over `parts` equal parts of the batch, one after the other."""
    gradient = jax.grad(loss, has_aux=True)
    if parts == 1:
        return gradient

    def split(x: jax.Array) -> jax.Array:
        # Part i takes rows i, parts + i, ...: each device keeps its own rows, nothing is sent.
        return x.reshape(x.shape[0] // parts, parts, *x.shape[1:]).swapaxes(0, 1)

    def accumulated(trainable: Any, frozen: Any, batch: Batch, statistics: NormStatistics, key: jax.Array) -> Any:
        def body(carry: Any, part: Any) -> Any:
            total, statistics = carry
            rows, i = part
            grads, (metrics, statistics) = gradient(trainable, frozen, rows, statistics, jax.random.fold_in(key, i))
            return (jax.tree.map(jnp.add, total, grads), statistics), metrics

        start = (jax.tree.map(jnp.zeros_like, trainable), statistics)
        inputs = (jax.tree.map(split, batch), jnp.arange(parts))
        (total, statistics), metrics = jax.lax.scan(body, start, inputs)
        grads = jax.tree.map(lambda g: g / parts, total)
        return grads, (jax.tree.map(lambda m: jnp.mean(m, axis=0), metrics), statistics)

    return accumulated


def make_step(
    recognizer: Recognizer, optimizer: optax.GradientTransformation, rate: optax.Schedule, mesh: Mesh
) -> StepFunction:
    """step(frozen, state, batch, key) -> (state, metrics).

    The batch is split over all devices, `state` as it was placed, and donated; everything else is replicated. `key` is
    the run's key: the step's own is folded from it and the step number, so that a resumed run draws the same numbers.
    """
    gradients = accumulated_gradients(make_loss(recognizer, mesh), recognizer.config.train.grad_accum)

    def step(frozen: Any, state: TrainState, batch: Batch, key: jax.Array) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(key, state.step)
        batch = batch | {"weight": normalised(batch["weight"])}
        grads, (metrics, statistics) = gradients(state.trainable, frozen, batch, state.statistics, key)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.trainable)
        trainable = optax.apply_updates(state.trainable, updates)
        grad_norm = optax.tree.norm(grads)
        # One bad batch must not spoil the parameters: such a step counts, and changes nothing.
        sound = jnp.isfinite(metrics["loss"]) & jnp.isfinite(grad_norm)
        trainable, opt_state, statistics = jax.tree.map(
            lambda new, old: jnp.where(sound, new, old),
            (trainable, opt_state, statistics),
            (state.trainable, state.opt_state, state.statistics),
        )
        skipped = state.skipped + ~sound
        in_a_row = jnp.where(sound, 0, state.skipped_in_a_row + 1)
        metrics |= {"learning_rate": jnp.asarray(rate(state.step), jnp.float32), "grad_norm": grad_norm}
        metrics |= {"skipped": skipped, "skipped_in_a_row": in_a_row}
        metrics |= {f"grad_norm/{part}": norm for part, norm in group_norms(grads).items()}
        metrics |= {f"param_norm/{part}": norm for part, norm in group_norms(trainable).items()}
        new = TrainState(state.step + 1, trainable, opt_state, statistics, skipped, in_a_row)
        return jax.lax.with_sharding_constraint(new, state_shardings(mesh, new)), metrics

    replicated, rows = sharding(mesh), sharding(mesh, "batch")
    return jax.jit(
        step,
        in_shardings=(replicated, None, rows, replicated),  # the state comes as it was placed
        out_shardings=(None, replicated),
        donate_argnums=(1,),
    )
