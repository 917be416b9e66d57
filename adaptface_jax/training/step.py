# SPDX-License-Identifier: Apache-2.0
"""The training step of any model: its loss, gradients of the trainable tree, the optimizer. One jitted function."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from adaptface_jax.distributed.compiler import CompilerOptions
from adaptface_jax.distributed.mesh import made, place, sharding, state_shardings
from adaptface_jax.losses.sampled import ClassSampler
from adaptface_jax.training.optim import group_norms

# image uint8 [B, H, W, 3], label int32 [B] or [B, A], weight float32 [B]; domain float32 [B, K] where any are known;
# keep uint8 [B', H, W, 3], images on which the model should not change, if there are any; feature float32 [B, F, d] and
# keep_feature [B', 1, d], the frozen model's of these images, where they are known (`recognition.features`)
Batch = dict[str, jax.Array]
Metrics = dict[str, jax.Array]  # float32 scalars
# (trainable, frozen, Batch, statistics, key) -> (scalar, (Metrics, statistics)). Means over the batch are
# `mean(x * weight)`: the batch's weights have mean 1. One with class centers also takes `row_weights`, float32
# [rows], if the centers are sampled.
Loss = Callable[..., tuple[jax.Array, tuple[Metrics, Any]]]
StepFunction = jax.stages.Wrapped  # (frozen, TrainState, Batch, key) -> (TrainState, Metrics)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """step int32, trainable tree, optimizer state, running statistics. The frozen tree is not in here.

    statistics: what a loss carries from step to step without gradients: AdaFace's norms, the moments of batch
    normalization.
    skipped: how many steps were skipped for non-finite numbers; skipped_in_a_row: how many of the latest steps in
    a row were.
    """

    step: jax.Array
    trainable: Any
    opt_state: optax.OptState
    statistics: Any
    skipped: jax.Array
    skipped_in_a_row: jax.Array


def init_state(trainable: Any, optimizer: optax.GradientTransformation, statistics: Any) -> TrainState:
    """The state before the first step."""
    return TrainState(jnp.int32(0), trainable, optimizer.init(trainable), statistics, jnp.int32(0), jnp.int32(0))


def begin_state(trainable: Any, optimizer: optax.GradientTransformation, statistics: Any, mesh: Mesh) -> TrainState:
    """`init_state` on the mesh: what has a row for each class is never whole on one device.

    The trees are not copied: a step consumes them with the state.
    """
    opt_state = made(mesh, optimizer.init, trainable)
    return place(mesh, TrainState(jnp.int32(0), trainable, opt_state, statistics, jnp.int32(0), jnp.int32(0)))


def normalized(weight: jax.Array) -> jax.Array:
    """Weights [B] of the whole batch scaled to mean 1: unchanged if all are 1; all 0 stay 0."""
    return weight * (weight.shape[0] / jnp.maximum(jnp.sum(weight), 1))


def accumulated_gradients(loss: Loss, parts: int) -> Callable[..., Any]:
    """Gradients and metrics averaged over `parts` equal parts of the batch, computed in sequence."""
    gradient = jax.grad(loss, has_aux=True)
    if parts == 1:
        return gradient

    def split(x: jax.Array) -> jax.Array:
        # Part i takes rows i, parts + i, ...: each device keeps its own rows, nothing is transferred.
        return x.reshape(x.shape[0] // parts, parts, *x.shape[1:]).swapaxes(0, 1)

    def accumulated(trainable: Any, frozen: Any, batch: Batch, statistics: Any, key: jax.Array) -> Any:
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
    loss: Loss,
    optimizer: optax.GradientTransformation,
    rate: optax.Schedule,
    mesh: Mesh,
    grad_accum: int = 1,
    compiler_options: CompilerOptions | None = None,
    sampler: ClassSampler | None = None,
) -> StepFunction:
    """step(frozen, state, batch, key) -> (state, metrics).

    The batch is split over all devices, `frozen` and `state` are as they were placed, the latter donated; `key` is the
    run's key: the step's own is folded from it and the step number, so that a resumed run draws the same numbers.
    sampler: of the class centers; a step then reads and writes only the rows that it samples.
    """

    def step(frozen: Any, state: TrainState, batch: Batch, key: jax.Array) -> tuple[TrainState, Metrics]:
        key = jax.random.fold_in(key, state.step)
        batch = batch | {"weight": normalized(batch["weight"])}
        before, weights = (state.trainable, state.opt_state), {}
        if sampler is not None:
            drawn = sampler.draw(key, batch["label"])
            batch |= {"label": drawn.labels}
            before, weights = sampler.take(before, drawn), {"row_weights": drawn.weights}
        gradients = accumulated_gradients(functools.partial(loss, **weights), grad_accum)
        grads, (metrics, statistics) = gradients(before[0], frozen, batch, state.statistics, key)
        updates, opt_state = optimizer.update(grads, before[1], before[0], **weights)
        trainable = optax.apply_updates(before[0], updates)
        grad_norm = optax.tree.norm(grads)
        # One bad batch must not ruin the parameters: such a step counts, but changes nothing.
        finite = jnp.isfinite(metrics["loss"]) & jnp.isfinite(grad_norm)
        trainable, opt_state, statistics = jax.tree.map(
            lambda new, old: jnp.where(finite, new, old),
            (trainable, opt_state, statistics),
            (*before, state.statistics),
        )
        if sampler is not None:
            trainable, opt_state = sampler.put((state.trainable, state.opt_state), (trainable, opt_state), drawn)
        skipped = state.skipped + ~finite
        in_a_row = jnp.where(finite, 0, state.skipped_in_a_row + 1)
        metrics |= {"learning_rate": jnp.asarray(rate(state.step), jnp.float32), "grad_norm": grad_norm}
        metrics |= {"skipped": skipped, "skipped_in_a_row": in_a_row}
        metrics |= {f"grad_norm/{part}": norm for part, norm in group_norms(grads).items()}
        metrics |= {f"param_norm/{part}": norm for part, norm in group_norms(trainable).items()}
        new = TrainState(state.step + 1, trainable, opt_state, statistics, skipped, in_a_row)
        return jax.lax.with_sharding_constraint(new, state_shardings(mesh, new)), metrics

    replicated, rows = sharding(mesh), sharding(mesh, "batch")
    return jax.jit(
        step,
        in_shardings=(None, None, rows, replicated),  # both trees come as they were placed
        out_shardings=(None, replicated),
        donate_argnums=(1,),
        compiler_options=compiler_options,
    )
