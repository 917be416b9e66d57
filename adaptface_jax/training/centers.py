"""The optimizer's rule for the class centers, of which a step may use only some rows.

Each row has its own moments and step count: a row that is not sampled keeps them, and its center, unchanged, and Adam
corrects each row's moments by how often that row was sampled. The weight decay of a sampled row is multiplied by its
weight, the inverse of its sampling probability (`losses.sampled`), so that the expected decay is that of all rows.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from adaptface_jax.config.schema import LoopConfig, LossConfig

CENTERS = "centers"
BETA1, BETA2, EPS = 0.9, 0.999, 1e-8


class RowMoments(NamedTuple):
    """Trees like the centers': how often each row was used, int32 [C]; Adam's moments, float32 [C, d]."""

    count: Any
    mean: Any
    square: Any


def has_own_rule(config: LossConfig) -> bool:
    """Whether the class centers are trained by a different rule from everything else."""
    return config.sample_rate < 1 or config.optimizer != "same" or config.learning_rate is not None


def centers_rule(
    config: LossConfig, loop: LoopConfig, rate: optax.ScalarOrSchedule, decay: jax.typing.ArrayLike
) -> optax.GradientTransformationExtraArgs:
    """The rule of the centers: `loss.optimizer` at `loss.learning_rate`, which follows the schedule of `rate`."""
    name = loop.optimizer if config.optimizer == "same" else config.optimizer
    factor = 1.0 if config.learning_rate is None else config.learning_rate / loop.learning_rate
    moments = optax.trace(loop.momentum) if name == "sgd" else scale_by_row_adam()
    parts = [moments, weighted_decay(decay)] if name == "adamw" else [weighted_decay(decay), moments]
    return optax.chain(*parts, optax.scale(factor), optax.scale_by_learning_rate(rate))


def with_centers(
    rest: optax.GradientTransformation, centers: optax.GradientTransformation
) -> optax.GradientTransformationExtraArgs:
    """`centers` for the class centers of a trainable tree, `rest` for everything else."""
    rest, centers = optax.with_extra_args_support(rest), optax.with_extra_args_support(centers)

    def init(params: Any) -> dict[str, Any]:
        others, own = split(params)
        return {"rest": rest.init(others), "rows": centers.init(own)}

    def update(updates: Any, state: Any, params: Any = None, **more: Any) -> tuple[Any, Any]:
        (others, own), (other_params, own_params) = split(updates), split(params)
        others, rest_state = rest.update(others, state["rest"], other_params, **more)
        own, row_state = centers.update(own, state["rows"], own_params, **more)
        return others | own, {"rest": rest_state, "rows": row_state}

    return optax.GradientTransformationExtraArgs(init, update)


def split(tree: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(everything else, the class centers)."""
    return {key: part for key, part in tree.items() if key != CENTERS}, {CENTERS: tree[CENTERS]}


def scale_by_row_adam() -> optax.GradientTransformation:
    """Adam (arXiv 1412.6980), its moments corrected row by row."""

    def init(params: Any) -> RowMoments:
        count = jax.tree.map(lambda rows: jnp.zeros(len(rows), jnp.int32), params)
        return RowMoments(count, jax.tree.map(jnp.zeros_like, params), jax.tree.map(jnp.zeros_like, params))

    def update(updates: Any, state: RowMoments, params: Any = None) -> tuple[Any, RowMoments]:
        del params
        count = jax.tree.map(lambda n: n + 1, state.count)
        mean = jax.tree.map(lambda m, g: BETA1 * m + (1 - BETA1) * g, state.mean, updates)
        square = jax.tree.map(lambda v, g: BETA2 * v + (1 - BETA2) * jnp.square(g), state.square, updates)

        def step(m: jax.Array, v: jax.Array, n: jax.Array) -> jax.Array:
            times = n[:, None].astype(m.dtype)
            return m / (1 - BETA1**times) / (jnp.sqrt(v / (1 - BETA2**times)) + EPS)

        return jax.tree.map(step, mean, square, count), RowMoments(count, mean, square)

    return optax.GradientTransformation(init, update)


def weighted_decay(decay: jax.typing.ArrayLike) -> optax.GradientTransformationExtraArgs:
    """decay * row added to each row's update; times `row_weights` float32 [rows] if a step passes them."""

    def init(params: Any) -> optax.EmptyState:
        del params
        return optax.EmptyState()

    def update(
        updates: Any, state: Any, params: Any = None, *, row_weights: jax.Array | None = None, **more: Any
    ) -> tuple[Any, Any]:
        del more
        each = decay if row_weights is None else decay * row_weights[:, None]
        return jax.tree.map(lambda g, rows: g + each * rows, updates, params), state

    return optax.GradientTransformationExtraArgs(init, update)
