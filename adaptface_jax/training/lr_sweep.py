# SPDX-License-Identifier: Apache-2.0
"""A sweep of the learning rate: which rates a model can be trained at, from a few steps of its own training.

The rate grows geometrically from step to step while the loss is recorded (Smith, arXiv 1506.01186, section 3.3). Loss
and rate are paired, the loss is smoothed and the sweep ended as in fastai (its `Recorder` and `lr_find`): the loss of
a step is that before its update; an exponential mean with bias correction; ended at four times the lowest. fastai's
beta of 0.98 would shift the curve of a hundred steps by half its width: here the mean is over a tenth of the steps,
0.98 from 500 on. Since that lags too, the rates read from it are two to three times too high if the loss is noisy.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

from adaptface_jax.config.schema import LoopConfig, LossConfig
from adaptface_jax.distributed.compiler import CompilerOptions
from adaptface_jax.distributed.mesh import state_shardings
from adaptface_jax.losses.sampled import ClassSampler
from adaptface_jax.training import optim
from adaptface_jax.training.step import Batch, Loss, StepFunction, TrainState, init_state, make_step

WINDOWS = 10  # a sweep has this many means that share almost no losses
DIVERGED = 4.0  # times the lowest smoothed loss
CERTAIN = 6.0  # standard errors of the smoothed loss that a descent must exceed: 3 in 100 flat sweeps do by chance
LOOK = 10  # steps between two checks of the losses
LEAST_STEPS, MOST_STEPS = 30, 100_000


@dataclasses.dataclass(frozen=True)
class Sweep:
    """The result of one sweep; the lists have one value per step.

    losses: of each step's batch before its update. smoothed: their mean so far; lowest: of those, None if there is
    none. ended: why there are no further steps.
    suggestion: the rate of steepest descent of the smoothed loss over log rate; tenth: a tenth of the rate at its
    minimum; both None if it does not descend.
    """

    weight_decay: float
    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    ended: str
    lowest: float | None = None
    suggestion: float | None = None
    tenth: float | None = None

    def loss_at(self, rate: float) -> float:
        """The smoothed loss at one of the rates."""
        return self.smoothed[self.rates.index(rate)]


def beta_of(steps: int) -> float:
    """The decay of the mean per loss, in a sweep of this many steps."""
    return min(max(1 - WINDOWS / steps, 0.9), 0.98)


def settled(beta: float) -> int:
    """The number of losses until the mean covers its full window."""
    return round(1 / (1 - beta))


def smooth(losses: Sequence[float], beta: float) -> np.ndarray:
    """Exponential mean with bias correction, float64 [N]; the first value is the first loss."""
    mean, result = 0.0, []
    for number, loss in enumerate(losses, 1):
        mean = beta * mean + (1 - beta) * loss
        result.append(mean / (1 - beta**number))
    return np.array(result)


def last_valid(losses: Sequence[float], beta: float) -> tuple[int, str]:
    """How many losses come before the sweep diverged, and how it did ("": it has not)."""
    best = math.inf
    for number, (loss, mean) in enumerate(zip(losses, smooth(losses, beta), strict=True)):
        if not math.isfinite(loss):
            return number, "not finite"
        if mean > DIVERGED * best:
            return number + 1, "diverged"
        best = min(best, mean)
    return len(losses), ""


def read(weight_decay: float, rates: Sequence[float], losses: Sequence[float]) -> Sweep:
    """The sweep of these losses; there may be fewer than rates, and some may follow the divergence."""
    beta = beta_of(len(rates))
    count, reason = last_valid(losses, beta)
    ended = f"{reason} at {rates[min(count, len(rates) - 1)]:.2e}" if reason else "after the last rate"
    smoothed = smooth(losses[:count], beta)
    # The first means are over so few losses that one could be the lowest by chance alone.
    lowest = min(smoothed[settled(beta) - 1 :].tolist() or smoothed.tolist(), default=None)
    suggestion, tenth = _suggestions(np.array(rates[:count]), np.array(losses[:count]), smoothed, beta)
    kept, found = tuple(map(float, rates[:count])), tuple(map(float, losses[:count]))
    return Sweep(weight_decay, kept, found, tuple(smoothed.tolist()), ended, lowest, suggestion, tenth)


def _suggestions(
    rates: np.ndarray, losses: np.ndarray, smoothed: np.ndarray, beta: float
) -> tuple[float | None, float | None]:
    first = settled(beta) - 1
    if len(losses) <= first + 2:
        return None, None
    lowest = first + int(np.argmin(smoothed[first:]))
    if lowest == first:
        return None, None
    # Batches differ: neighboring losses show by how much, since their rates are nearly the same.
    noise = float(np.median(np.abs(np.diff(losses[: lowest + 1])))) / (0.6745 * math.sqrt(2))
    error = noise * math.sqrt((1 - beta) / (1 + beta))
    descent = smoothed[first:lowest].max() - smoothed[lowest]
    if not descent > max(CERTAIN * error, 1e-3 * abs(smoothed[lowest])):
        return None, None
    # The descent starts where the loss was last this high: before that is the noise of rates that have no effect.
    begin = first + int(np.flatnonzero(smoothed[first:lowest] >= smoothed[lowest] + 0.8 * descent)[-1])
    slope = np.gradient(smoothed, np.log(rates))
    steepest = begin + int(np.argmin(slope[begin : lowest + 1]))
    return float(rates[steepest]), float(rates[lowest]) / 10


class Sweeper:
    """Sweeps of one training from its initial values, with one compiled step for all weight decays.

    trainable, frozen, statistics, loss, mesh, centers, sampler: of the run (`training.plan.Plan`); none of the trees is
    consumed.
    low, high: the first and the last rate. The configured rate, schedule, warm-up and decay are ignored.
    """

    def __init__(
        self, config: LoopConfig, loss: Loss, mesh: Mesh, frozen: Any, trainable: Any, statistics: Any,
        low: float, high: float, steps: int, compiler_options: CompilerOptions | None = None,
        centers: LossConfig | None = None, sampler: ClassSampler | None = None,
    ) -> None:  # fmt: skip
        self.rates = np.geomspace(low, high, steps)
        self._frozen, self._trees = frozen, (trainable, statistics)
        course = _course(low, high, steps)
        optimizer = optax.inject_hyperparams(
            lambda weight_decay: optim.optimizer(config, course, weight_decay, centers)
        )(weight_decay=0.0)

        def begin(trainable: Any, statistics: Any, decay: jax.Array) -> TrainState:
            # The step donates its state, hence copies.
            trainable, statistics = jax.tree.map(jnp.copy, (trainable, statistics))
            state = init_state(trainable, optimizer, statistics)
            return dataclasses.replace(state, opt_state=state.opt_state._replace(hyperparams={"weight_decay": decay}))

        shapes = jax.eval_shape(begin, trainable, statistics, jnp.float32(0))
        self._begin = jax.jit(begin, out_shardings=state_shardings(mesh, shapes))
        self._step: StepFunction = make_step(
            loss, optimizer, course, mesh, config.grad_accum, compiler_options, sampler
        )
        self._compiled: Any = None

    def sweep(
        self, weight_decay: float, batches: Iterator[Batch], key: jax.Array, say: Callable[[int, float], None]
    ) -> Sweep:
        """One sweep over `batches`, on the devices; `say` is called now and then with the steps done and a loss.

        key: the run's. Divergence is detected up to 2 * LOOK steps late, and later losses are dropped.
        """
        state = self._begin(*self._trees, jnp.float32(weight_decay))
        batch = next(batches)
        if self._compiled is None:
            self._compiled = self._step.lower(self._frozen, state, batch, key).compile()
        losses: list[float] = []
        waiting: list[tuple[jax.Array, jax.Array]] = []
        with jax.transfer_guard("disallow"):
            for step in range(1, len(self.rates) + 1):
                state, metrics = self._compiled(self._frozen, state, batch, key)
                waiting.append((metrics["loss"], metrics["skipped"]))
                for value in waiting[-1]:
                    value.copy_to_host_async()
                if step == len(self.rates):
                    break
                if len(waiting) == 2 * LOOK:
                    losses += _read(waiting[:LOOK])
                    waiting = waiting[LOOK:]
                    say(len(losses), losses[-1])
                    if last_valid(losses, beta_of(len(self.rates)))[1]:
                        break
                batch = next(batches)
        losses += _read(waiting)
        say(len(losses), losses[-1])
        return read(weight_decay, self.rates.tolist(), losses)


def _read(waiting: Sequence[tuple[jax.Array, jax.Array]]) -> list[float]:
    """The losses of (loss, skipped) on the device; NaN once a step was skipped for a non-finite gradient."""
    return [math.nan if skipped else float(loss) for loss, skipped in jax.device_get(list(waiting))]


def _course(low: float, high: float, steps: int) -> optax.Schedule:
    """The rate at each step, 0-based, from low to high by equal factors."""

    def rate(step: jax.typing.ArrayLike) -> jax.Array:
        return low * jnp.exp(math.log(high / low) * jnp.asarray(step, jnp.float32) / (steps - 1))

    return rate
