"""What a run carries from step to step."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax

from adaptface_jax.heads.margin import NormStatistics, init_statistics


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """step int32, trainable tree, optimizer state, AdaFace's norm statistics. The frozen tree is not in here."""

    step: jax.Array
    trainable: Any
    opt_state: optax.OptState
    statistics: NormStatistics


def init_state(trainable: Any, optimizer: optax.GradientTransformation) -> TrainState:
    """The state before the first step."""
    return TrainState(jnp.int32(0), trainable, optimizer.init(trainable), init_statistics())
