"""Checkpoints of the trainable state: the latest ones and the best one. The one importer of Orbax."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Self

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from adaptface_jax.errors import InputError
from adaptface_jax.state import TrainState

BEST_METRIC = "accuracy"


class Checkpoints:
    """The checkpoints of one run, under `folder`; a context manager that ends with every save on disk.

    keep: how many of the latest to keep. The best by accuracy is kept beside them.
    """

    def __init__(self, folder: Path, keep: int = 1, read_only: bool = False) -> None:
        self._folder = folder.absolute()
        if read_only:
            options = ocp.CheckpointManagerOptions(
                read_only=True, save_interval_steps=0, create=False, best_fn=_accuracy
            )  # fmt: skip
        else:
            policy = checkpoint_managers.AnyPreservationPolicy(
                [
                    checkpoint_managers.LatestN(n=keep),
                    checkpoint_managers.BestN(get_metric_fn=_accuracy, n=1, keep_checkpoints_without_metrics=False),
                ]
            )
            options = ocp.CheckpointManagerOptions(
                preservation_policy=policy, best_fn=_accuracy, enable_async_checkpointing=True
            )
        self._manager = ocp.CheckpointManager(self._folder, options=options)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._manager.close()

    def latest(self) -> int | None:
        """The newest complete step, or None."""
        return self._manager.latest_step()

    def best(self) -> int | None:
        """The step with the best mean accuracy, or None where none was evaluated."""
        return self._manager.best_step()

    def save(self, step: int, state: TrainState, accuracy: float | None = None) -> None:
        """Start saving in the background; the state may be donated as soon as this returns."""
        metrics = None if accuracy is None else {BEST_METRIC: accuracy}
        self._manager.save(step, args=ocp.args.StandardSave(_plain(state)), metrics=metrics)

    def wait(self) -> None:
        """Return when every save so far is complete on disk."""
        self._manager.wait_until_finished()

    def restore(self, step: int, like: TrainState) -> TrainState:
        """The state of `step`; `like` gives shapes, dtypes and shardings (arrays or ShapeDtypeStructs)."""
        target = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), _plain(like))
        return TrainState(**self._manager.restore(step, args=ocp.args.StandardRestore(target)))

    def choose(self, which: str) -> int:
        """The step that `latest`, `best` or a number names; raises InputError where there is none."""
        steps = self._manager.all_steps()
        if not steps:
            raise InputError(f"{self._folder}: no complete checkpoint; was the run saved?")
        if which == "latest":
            return max(steps)
        if which == "best":
            best = self.best()
            return max(steps) if best is None else best
        if which.isdecimal() and int(which) in steps:
            return int(which)
        known = ", ".join(map(str, sorted(steps)))
        raise InputError(f"--checkpoint: {which!r} is not there; expected best, latest or one of the steps {known}")


def _accuracy(metrics: dict[str, float]) -> float:
    return metrics[BEST_METRIC]


def _plain(state: TrainState) -> dict[str, Any]:
    return {
        "step": state.step,
        "trainable": state.trainable,
        "opt_state": state.opt_state,
        "statistics": state.statistics,
    }
