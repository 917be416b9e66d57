"""A moving average of the trained weights, used for evaluation and inference; the optimizer updates the latest ones."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from adaptface_jax.training.centers import CENTERS


class Averaged(NamedTuple):
    """rule: the optimizer's own state. average: like the trainable tree, without the class centers, which no model
    keeps. updates: int32, the count so far."""

    rule: Any
    average: Any
    updates: jax.Array


def averaged(rule: optax.GradientTransformation, decay: float) -> optax.GradientTransformationExtraArgs:
    """`rule`, with average = d average + (1 - d) parameters after each of its updates.

    d is the smaller of `decay` and (1 + n) / (10 + n) at update n, counted from 0, so that the average of a short run
    is not dominated by the initial values (as in TensorFlow's ExponentialMovingAverage with a count of updates).
    """
    rule = optax.with_extra_args_support(rule)

    def init(params: Any) -> Averaged:
        return Averaged(rule.init(params), jax.tree.map(jnp.array, kept(params)), jnp.int32(0))

    def update(updates: Any, state: Averaged, params: Any = None, **more: Any) -> tuple[Any, Averaged]:
        updates, own = rule.update(updates, state.rule, params, **more)
        d = jnp.minimum(decay, (1 + state.updates) / (10 + state.updates))
        new = kept(optax.apply_updates(params, updates))
        average = jax.tree.map(lambda old, now: d * old + (1 - d) * now, state.average, new)
        return updates, Averaged(own, average, state.updates + 1)

    return optax.GradientTransformationExtraArgs(init, update)


def kept(params: dict[str, Any]) -> dict[str, Any]:
    """Everything but the class centers."""
    return {name: part for name, part in params.items() if name != CENTERS}


def used(trainable: dict[str, Any], opt_state: Any) -> dict[str, Any]:
    """The tree of a training state that evaluation and inference use: the average, if there is one."""
    return trainable | opt_state.average if isinstance(opt_state, Averaged) else trainable
