"""The optimizers, and the learning-rate schedules."""

from __future__ import annotations

import jax
import optax

from adaptface_jax.config.schema import LoopConfig, LossConfig, TrainConfig
from adaptface_jax.core import trees
from adaptface_jax.training.averaging import averaged
from adaptface_jax.training.centers import centers_rule, has_own_rule, with_centers

# Leaves without weight decay: biases, norms with their moments, layer scales.
NO_DECAY = ("bias", "scale", "gamma", "mean", "var")


def schedule(config: LoopConfig, steps_per_epoch: int, total_steps: int) -> optax.Schedule:
    """Learning rate at each step, 0-based: a linear warm-up, then the configured schedule."""
    peak, low = config.learning_rate, config.min_learning_rate
    rest = max(1, total_steps - config.warmup_steps)
    if config.schedule == "constant":
        course = optax.constant_schedule(peak)
    elif config.schedule == "cosine":
        course = optax.cosine_decay_schedule(peak, rest, alpha=low / peak if peak else 0.0)
    elif config.schedule == "step":
        # Milestones count from the start of the run, the schedule from the end of the warm-up.
        drops = {max(0, e * steps_per_epoch - config.warmup_steps): config.decay_factor for e in config.decay_epochs}
        course = optax.piecewise_constant_schedule(peak, drops)
    else:
        course = restarts(config, steps_per_epoch, total_steps)
    if not config.warmup_steps:
        return course
    return optax.join_schedules([optax.linear_schedule(0.0, peak, config.warmup_steps), course], [config.warmup_steps])


def restarts(config: LoopConfig, steps_per_epoch: int, total_steps: int) -> optax.Schedule:
    """The peak for hold_epochs, then cosines to the minimum, each restart_factor times as long as the last (SGDR)."""
    peak, low = config.learning_rate, config.min_learning_rate
    courses, boundaries = [], []
    start = config.hold_epochs * steps_per_epoch
    if start:
        courses.append(optax.constant_schedule(peak))
        boundaries.append(start)
    length = config.restart_epochs * steps_per_epoch
    while True:
        courses.append(optax.cosine_decay_schedule(peak, length, alpha=low / peak if peak else 0.0))
        start += length
        if start >= total_steps:
            return optax.join_schedules(courses, boundaries)
        boundaries.append(start)
        length *= config.restart_factor


def decay_mask(tree: trees.Tree) -> trees.Tree:
    """True where weight decay applies."""
    return trees.unflatten({path: path.rsplit("/", 1)[-1] not in NO_DECAY for path in trees.flatten(tree)})


def optimizer(
    config: LoopConfig,
    rate: optax.ScalarOrSchedule,
    weight_decay: jax.typing.ArrayLike | None = None,
    loss: LossConfig | None = None,
) -> optax.GradientTransformation:
    """The configured optimizer after an optional clip of the global norm; each as torch defines it.

    adamw (arXiv 1711.05101): betas 0.9 and 0.999, eps 1e-8, decoupled decay. adam: the same, the decay added to the
    gradient. sgd: with momentum, the decay added to the gradient. weight_decay: instead of the configured one.
    loss: of a training of class centers, which may have their own rule (`training.centers`). With `train.ema` its
    state also holds the average (`training.averaging`).
    """
    decay = config.weight_decay if weight_decay is None else weight_decay
    if config.optimizer == "adamw":
        parts = [optax.adamw(rate, weight_decay=decay, mask=decay_mask)]
    else:
        rule = optax.adam(rate) if config.optimizer == "adam" else optax.sgd(rate, config.momentum or None)
        parts = [optax.add_decayed_weights(decay, decay_mask), rule]
    if loss is not None and has_own_rule(loss):
        parts = [with_centers(optax.chain(*parts), centers_rule(loss, config, rate, decay))]
    if config.clip_norm is not None:
        parts.insert(0, optax.clip_by_global_norm(config.clip_norm))
    whole = parts[0] if len(parts) == 1 else optax.chain(*parts)
    return averaged(whole, config.ema) if isinstance(config, TrainConfig) and config.ema else whole


def group_norms(tree: trees.Tree) -> dict[str, jax.Array]:
    """Global norm of each top-level part."""
    return {part: optax.tree.norm(leaves) for part, leaves in tree.items()}
