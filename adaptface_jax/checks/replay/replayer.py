# SPDX-License-Identifier: Apache-2.0
"""Recomputes steps of a run and compares them with what it stored: records, metrics, the whole state."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from adaptface_jax.checks.finding import Finding, fault, ok
from adaptface_jax.checks.replay.recorded_run import RecordedRun, Session
from adaptface_jax.checks.replay.windows import Window
from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import plural
from adaptface_jax.data.witness import Seen
from adaptface_jax.distributed.mesh import sharding
from adaptface_jax.training import optim
from adaptface_jax.training.checkpoint import CHECKPOINTS, Checkpoints
from adaptface_jax.training.evidence import surroundings
from adaptface_jax.training.fingerprint import leaf_names, make_fingerprint
from adaptface_jax.training.plan import Plan, placed_batches
from adaptface_jax.training.run import abstract_state
from adaptface_jax.training.step import TrainState, begin_state, make_step

# Of a session and of this machine: if these are equal, and the device is a CPU, so is every bit.
# (The number of cores that share a sum determines the order of its additions.)
SAME = (
    "adaptface_jax", "jax", "jaxlib", "flax", "optax", "numpy", "processor", "cores", "devices", "processes", "platform"
)  # fmt: skip


class Replayer:
    """A plan's own step, from the states that the run stored.

    tolerance: largest relative difference of a metric, and in norm of a parameter, if bits need not be equal.
    """

    def __init__(self, recorded: RecordedRun, plan: Plan, tolerance: float) -> None:
        self._recorded, self._plan, self._tolerance = recorded, plan, tolerance
        config = plan.config
        rate = optim.schedule(config.train, plan.steps_per_epoch, plan.total_steps)
        self._optimizer = optim.optimizer(config.train, rate, loss=plan.centers)
        self._step = make_step(
            plan.loss, self._optimizer, rate, plan.mesh, config.train.grad_accum, plan.compiler_options, plan.sampler
        )
        self._compiled: Any = None
        self._fingerprint = make_fingerprint(plan.mesh)
        self._like = abstract_state(config.train, plan.trainable, plan.statistics, plan.mesh, plan.centers)
        self.names = leaf_names(self._like)

    def start(self, step: int) -> TrainState:
        """The state after `step`, as the run stored it, or its initial state."""
        if step == 0:
            trees = jax.tree.map(lambda leaf: leaf.copy(), (self._plan.trainable, self._plan.statistics))
            return begin_state(trees[0], self._optimizer, trees[1], self._plan.mesh)
        with Checkpoints(self._recorded.workdir / CHECKPOINTS, read_only=True) as checkpoints:
            return checkpoints.restore(step, self._like)

    def kept(self, step: int) -> Finding | None:
        """What is wrong with the state of a checkpoint (0: the initial state), by its fingerprint."""
        try:
            state = self.start(step)
        except InputError as error:
            return fault("checkpoint", str(error), _RESTORE)
        wrong = self._other_leaves(step, state)
        if not wrong:
            return None
        more = f" and {len(wrong) - 1} more of {len(self.names)} arrays" if len(wrong) > 1 else ""
        what = f"checkpoint {step:,}" if step else "the initial state, computed again,"
        return fault("checkpoint", f"{what} is not the state from training: {wrong[0]}{more}", _RESTORE)

    def _other_leaves(self, step: int, state: TrainState) -> list[str]:
        known = self._recorded.states.get(step)
        if known is None or not self._comparable(self._recorded.session_of(step)):
            return []
        found = jax.device_get(self._fingerprint(state)).tolist()
        return [name for name, a, b in zip(self.names, known, found, strict=False) if a != b]

    def _comparable(self, session: Session | None) -> bool:
        """Whether the arrays have the same shapes as then: class centers are padded to the devices."""
        return session is not None and session.environment.get("devices") == surroundings()["devices"]

    def run(self, window: Window) -> Finding:
        """Recompute its steps, comparing wherever something is known; ends at the first difference."""
        if self._compiled is None:
            self._plan = self._plan.completed()
        plan, recorded = self._plan, self._recorded
        session = recorded.session_of(window.start)
        exact = not differences(session)
        title = f"{window.start:,} to {window.end:,}"
        state, seen = self.start(window.start), Seen()
        everywhere = sharding(plan.mesh)
        key = jax.jit(lambda: jax.random.key(plan.config.seed), out_shardings=everywhere)()
        compared, furthest = 0, 0.0
        loss = math.nan
        data = placed_batches(plan, window.start, None, seen)
        for step, batch in zip(range(window.start + 1, window.end + 1), data, strict=False):
            if self._compiled is None:
                self._compiled = self._step.lower(plan.frozen, state, batch, key).compile()
            state, metrics = self._compiled(plan.frozen, state, batch, key)
            wrong = []
            if step in recorded.seen:
                digest = seen.take()
                if (
                    session is not None
                    and session.environment.get("processes") == "1"
                    and digest != recorded.seen[step]
                ):
                    wrong.append("different records, or records with different content")
            if step in recorded.logged:
                found = {f"train/{name}": float(value) for name, value in jax.device_get(metrics).items()}
                differing, most = compare(recorded.logged[step], found, 0 if exact else self._tolerance)
                furthest, compared, loss = max(furthest, most), compared + 1, found["train/loss"]
                wrong += differing
            if exact and (leaves := self._other_leaves(step, state)):
                wrong.append(f"{len(leaves)} of {len(self.names)} arrays of the state differ, first {leaves[0]}")
            if wrong:
                data.close()  # type: ignore[attr-defined]
                return fault(title, f"step {step:,}: {'; '.join(wrong)}", _DIFFERS)
        data.close()  # type: ignore[attr-defined]
        if (worst := self._distance(window.end, state)) is not None:
            name, difference = worst
            if difference > (0 if exact else self._tolerance):
                return fault(
                    title, f"step {window.end:,}: {name} differs from its checkpoint by {difference:.2g}", _DIFFERS
                )
            furthest = max(furthest, difference)
        how = "bit for bit" if not furthest else f"within {furthest:.1g} (tolerance {self._tolerance:g})"
        what = f"{plural(compared, 'row')} of metrics" + (f" (last loss {loss:.4f})" if compared else "")
        return ok(title, f"{plural(window.steps, 'step')}: {what}, records and parameters equal {how}")

    def _distance(self, step: int, state: TrainState) -> tuple[str, float] | None:
        """The parameter that differs most from the checkpoint of `step`, and its relative distance in norm."""
        with Checkpoints(self._recorded.workdir / CHECKPOINTS, read_only=True) as checkpoints:
            if step not in checkpoints.complete():
                return None
        try:
            kept = self.start(step)
        except InputError:
            return None
        names = leaf_names(state.trainable)
        pairs = zip(jax.tree.leaves(kept.trainable), jax.tree.leaves(state.trainable), strict=True)
        return max(
            ((name, _relative(a, b)) for name, (a, b) in zip(names, pairs, strict=True)), key=lambda entry: entry[1]
        )


_RESTORE = "restore it from a copy of the run's folder"
_DIFFERS = "see the changes listed above, if any; otherwise the run was not trained as its records say"


def differences(session: Session | None) -> list[str]:
    """What keeps a session and this machine from computing the same bits, in words; empty if nothing does."""
    if session is None:
        return ["the run did not record where it was trained"]
    here = surroundings()
    found = [
        f"{name} was {session.environment.get(name)}, is {here.get(name)}"
        for name in SAME
        if session.environment.get(name) != here.get(name)
    ]
    if here["platform"] != "cpu":
        found.append(f"a {here['platform']} may not reproduce its bits")
    return found


def compare(row: Mapping[str, Any], found: Mapping[str, float], tolerance: float) -> tuple[list[str], float]:
    """What of a row of metrics is not reproduced, the loss first, in words; and the largest relative difference.

    A value that the row lacks is not compared; null stands for a non-finite value.
    """
    wrong, most = [], 0.0
    for tag in sorted(found, key=lambda tag: (tag != "train/loss", tag)):
        if tag not in row:
            continue
        was, now = row[tag], found[tag]
        if was is None or not math.isfinite(now):
            difference = 0.0 if was is None and not math.isfinite(now) else math.inf
        else:
            difference = abs(was - now) / max(abs(was), abs(now), 1e-30) if was != now else 0.0
        most = max(most, difference)
        if difference > tolerance:
            wrong.append(f"{tag} was {was!r}, is now {now!r}")
    more = [f"and {len(wrong) - 2} more metrics"] if len(wrong) > 2 else []
    return wrong[:2] + more, most


def _relative(was: jax.Array, now: jax.Array) -> float:
    a, b = (np.asarray(x, np.float64) for x in (was, now))
    rows = min(len(a), len(b)) if a.ndim else None  # padded centers
    a, b = a[:rows], b[:rows]
    return 0.0 if np.array_equal(a, b) else float(np.linalg.norm(a - b)) / max(float(np.linalg.norm(a)), 1e-30)
