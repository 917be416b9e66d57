"""What a run carries from step to step."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax

from adaptface_jax.losses.margin import NormStatistics, init_statistics


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
