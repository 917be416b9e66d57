# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of the trainable state: the latest ones, the best one and milestones. The one importer of Orbax.

    checkpoints/1200/             a complete step: Orbax's files, a copy of the run's run.json, and manifest.json with
                                  the sha256 of each
    checkpoints/set_aside/1000/   a step that was found damaged or unfinished

Orbax writes the arrays in the background; a step counts once its manifest is written, and is verified before it is
used. (Orbax itself restores a flipped byte silently, and takes an empty folder to be the latest step.)
"""

from __future__ import annotations

import dataclasses
import errno
import logging
import shutil
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import jax
import orbax.checkpoint as ocp

from adaptface_jax.core import manifest, run_names
from adaptface_jax.core.errors import InputError, RunError
from adaptface_jax.core.files import clear_remains_in, disk_is_full
from adaptface_jax.core.manifest import Damaged, change_facts, read_manifest, verify, write_manifest
from adaptface_jax.core.text import one_line, shortened
from adaptface_jax.distributed.processes import agreed, primary
from adaptface_jax.training import stored_tree
from adaptface_jax.training.early_stopping import Course
from adaptface_jax.training.run import RUN_FILE, check_copy, read_record, write_record
from adaptface_jax.training.step import TrainState

CHECKPOINTS = run_names.CHECKPOINTS  # in the folder of a run
SET_ASIDE = "set_aside"

# Orbax reports a failed save with a traceback from its threads; here it is reported in one line.
for _name in ("absl", "asyncio"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)


class Checkpoints:
    """The checkpoints of one run, under `folder`; a context manager that ends with every save on disk.

    keep: how many of the latest to keep; the best by score is kept as well, and so is every multiple of
    `keep_every` (0: none).
    record: of the run, stored with every step, so that each step identifies its run.
    read_only: nothing is written, moved or deleted (another process may be training), or agreed with other processes.
    say: receives one-line messages (damage, failed saves).
    """

    def __init__(
        self,
        folder: Path,
        keep: int = 1,
        read_only: bool = False,
        say: Callable[[str], None] = print,
        record: Mapping[str, Any] | None = None,
        keep_every: int = 0,
    ) -> None:
        self._folder = folder.absolute()
        self._keep, self._read_only, self.say, self._record = keep, read_only, say, record
        self._keep_every = keep_every
        self._checkpointer = ocp.AsyncCheckpointer(ocp.StandardCheckpointHandler())
        self._thread: threading.Thread | None = None
        self._failure: tuple[int, Exception] | None = None  # not reported yet
        self._lost = False  # whether the last save failed, reported or not
        self._any_lost = False
        if not read_only and primary():
            self._folder.mkdir(parents=True, exist_ok=True)
            for remains in self._folder.glob("*.orbax-checkpoint-tmp*"):
                shutil.rmtree(remains)
            for step in self._steps():
                clear_remains_in(self._folder / str(step))

    def __enter__(self) -> Self:
        self._hook = sys.unraisablehook
        sys.unraisablehook = self._unraisable
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._join()
        self._checkpointer.close()
        if not self._any_lost:  # else pending work finishes later, at the latest when the program exits
            sys.unraisablehook = self._hook

    def latest(self) -> int | None:
        """The newest step that is complete and intact, or None; newer ones that are not are set aside."""
        return self._choose_intact(sorted(self._steps(), reverse=True))

    def best(self) -> int | None:
        """The intact step with the best score (the later one on a tie), or None if none was evaluated.

        A step on which a guarded benchmark fell is only chosen if all did.
        """
        return self._choose_intact(self._by_score())

    def passed_over(self, best: int | None) -> str:
        """Why a step that scores higher is not the best: a guarded benchmark fell; "" if there is none."""
        if best is None:
            return ""
        if fell := _saved_facts(self._folder / str(best)).get("fell"):
            return f"best: step {best:,}, although {fell} fell (eval.guard), as in all that are kept"
        score, step = max((score, step) for step in self._steps() if (score := self.score(step)) is not None)
        if fell := _saved_facts(self._folder / str(step)).get("fell"):
            return f"best: step {best:,}, since {fell} fell at step {step:,}, which scores higher (eval.guard)"
        return ""

    def complete(self) -> list[int]:
        """The steps whose saving was completed, even if they were damaged since."""
        return sorted(step for step in self._steps() if _has_manifest(self._folder / str(step)))

    def score(self, step: int) -> float | None:
        """The evaluation score of a saved step, higher is better, or None if it was not evaluated."""
        return saved_score(self._folder / str(step))

    def course(self, step: int) -> Course:
        """The history of the scores up to a saved step."""
        facts = _saved_facts(self._folder / str(step))
        best, objection = facts.get("best", self.score(step)), facts.get("objection", "")
        return Course(best, facts.get("since", 0), facts.get("over", False), objection)

    def save(self, step: int, state: TrainState, score: float | None = None, course: Course | None = None) -> None:
        """Start saving in the background; the state may be donated as soon as this returns.

        score: of the evaluation at this step. course: of all scores so far, this one included.
        An earlier save that failed is reported here, or by `check`; raises RunError if the disk is full.
        """
        self._join()
        self.check()
        self._lost = False
        folder = self._folder / str(step)
        needed = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
        try:
            if folder.exists():
                # The same step, saved before the run was stopped during its evaluation.
                if score is not None and primary():
                    change_facts(folder, **_facts(score, course))
                return
            if primary() and (left := shutil.disk_usage(self._folder).free) < needed:
                # Detected halfway, it would end in dozens of messages from Orbax's threads.
                raise OSError(errno.ENOSPC, f"{left / 1e6:.1f} MB free, {needed / 1e6:.1f} MB needed")
            self._checkpointer.save(folder, args=ocp.args.StandardSave(stored_tree.stored(state)))
        except Exception as error:  # Orbax and TensorStore share no base class of errors
            self._failed(step, error)
            self.check()
            return
        self._thread = threading.Thread(target=self._finish, args=(step, _facts(score, course)))
        self._thread.start()

    def check(self) -> None:
        """Report a save that has failed since the last check (costs nothing); raises RunError if the disk is full."""
        if self._failure is None:
            return
        (step, error), self._failure = self._failure, None
        kept = (
            f"the last complete checkpoint is step {complete[-1]:,}"
            if (complete := self.complete())
            else ("there is no complete checkpoint yet")
        )
        if disk_is_full(error):
            raise RunError(f"{self._folder}: the disk is full, step {step:,} could not be saved; {kept}")
        self.say(f"step {step:,} could not be saved ({one_line(error)}); {kept}, and the run continues")

    def wait(self) -> bool:
        """Wait for the last save; returns whether it is complete on disk. Raises RunError if the disk is full."""
        self._join()
        self.check()
        return not self._lost

    def restore(self, step: int, like: TrainState, model_only: bool = False) -> TrainState:
        """The state of `step`; `like` gives shapes, dtypes and shardings (arrays or ShapeDtypeStructs).

        model_only: without what only training needs; the class centers and the optimizer's own state, which are
        gigabytes for a million classes, are not read, and each of their leaves is `...`.
        The number of zero rows at the end may differ: class centers are padded to what the mesh can split.
        Raises InputError if the step was saved by a run with a different record, or holds other trees or another step.
        """
        folder = self._folder / str(step)
        if self._record is not None:
            check_copy(folder, self._record)
        saved_as = stored_tree.stored(like)
        target = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), saved_as)
        stored_tree.check_shapes(folder, self._checkpointer.metadata(folder).item_metadata.tree, target)
        if model_only:
            found = _read_model(folder, target)
        else:
            found = self._checkpointer.restore(folder, args=ocp.args.StandardRestore(target, strict=False))
        if (held := int(jax.device_get(found["step"]))) != step:
            raise InputError(f"{folder}: contains the state after step {held:,}, not {step:,}; remove the folder")
        return stored_tree.restored(found)

    def choose(self, which: str) -> int:
        """The intact step that `latest`, `best` or a number names; raises InputError if there is none."""
        step = self.latest() if which == "latest" else None
        if which == "best":
            step = self.best()
            if line := self.passed_over(step):
                self.say(line)
            step = self.latest() if step is None else step
        if step is not None:
            return step
        known = ", ".join(map(str, self.complete()))
        if not known:
            raise InputError(f"{self._folder}: no complete checkpoint; was the run saved?")
        if which not in map(str, self.complete()):
            raise InputError(
                f"--checkpoint: {shortened(repr(which), 60)} does not exist; expected best, latest or one of {known}"
            )
        try:
            verify(self._folder / which)
        except Damaged as damage:
            raise InputError(
                f"--checkpoint: step {which} is damaged: {damage}; expected an intact one of {known}"
            ) from None
        return int(which)

    def _unraisable(self, unraisable: Any) -> None:
        # TensorStore's pending work ends like this when a save fails, once for every array.
        if "Event loop is closed" not in str(unraisable.exc_value):
            self._hook(unraisable)

    def _steps(self) -> list[int]:
        """Every step folder, complete or not; 012 is not a step."""
        if not self._folder.is_dir():
            return []
        names = [path.name for path in self._folder.iterdir() if path.name.isdecimal() and path.is_dir()]
        return [int(name) for name in names if str(int(name)) == name]

    def _by_score(self) -> list[int]:
        """The complete steps that were evaluated, the best first, ties by the later step first."""
        ranks = {step: rank for step in self._steps() if (rank := saved_rank(self._folder / str(step))) is not None}
        return sorted(ranks, key=lambda step: (ranks[step], step), reverse=True)

    def _choose_intact(self, steps: list[int]) -> int | None:
        """The first intact one; the processes of a training agree on it, a reader checks by itself."""
        if self._read_only:
            return self._first_intact(steps)
        return agreed(self._first_intact(steps) if primary() else None)

    def _first_intact(self, steps: list[int]) -> int | None:
        for step in steps:
            try:
                held = verify(self._folder / str(step)).facts.get("step", step)
            except Damaged as damage:
                self._reject(step, str(damage))
                continue
            if held == step:
                return step
            renamed = f"{self._folder / str(step)}: contains step {held:,}, so it was renamed; rename it to {held}"
            if not self._read_only:
                raise InputError(f"{renamed}, or remove it")
            self.say(renamed)
        return None

    def _reject(self, step: int, reason: str) -> None:
        where = ""
        if not self._read_only:
            aside = self._folder / SET_ASIDE
            target = aside / str(step)
            for number in range(2, 1000):
                if not target.exists():
                    break
                target = aside / f"{step}.{number}"
            aside.mkdir(exist_ok=True)
            (self._folder / str(step)).rename(target)
            where = f", set aside in {aside.name}/{target.name}"
        self.say(f"checkpoint {step:,} is not used: {reason}{where}")

    def _finish(self, step: int, facts: dict[str, Any]) -> None:
        """In the background: write the manifest once Orbax has written everything; then remove superseded steps."""
        try:
            self._checkpointer.wait_until_finished()
            if primary():
                if self._record is not None:
                    write_record(self._folder / str(step), self._record)
                write_manifest(self._folder / str(step), {"step": step, **facts})
                self._prune()
        except Exception as error:  # reported by `check`, in the loop's own thread
            shutil.rmtree(self._folder / str(step), ignore_errors=True)
            for remains in self._folder.glob(f"{step}.orbax-checkpoint-tmp*"):
                shutil.rmtree(remains, ignore_errors=True)
            self._failed(step, error)

    def _failed(self, step: int, error: Exception) -> None:
        self._failure, self._lost, self._any_lost = (step, error), True, True

    def _prune(self) -> None:
        complete = self.complete()
        milestones = (step for step in complete if self._keep_every and step % self._keep_every == 0)
        kept = {*complete[-self._keep :], *self._by_score()[:1], *milestones}
        for step in set(complete) - kept:
            # Without its manifest it no longer counts, even if the deletion is interrupted.
            (self._folder / str(step) / manifest.NAME).unlink()
            shutil.rmtree(self._folder / str(step))

    def _join(self) -> None:
        if self._thread is not None:
            self._thread.join()
            self._thread = None


def read_checkpoint(workdir: Path, which: str, like: TrainState) -> tuple[int, TrainState]:
    """The step and the state of the checkpoint `which` of a run (best, latest or a step), of which only the model is
    read; see Checkpoints.restore.

    Raises InputError if there is none, or if it is not from this run.
    """
    with Checkpoints(workdir / CHECKPOINTS, read_only=True, record=read_record(workdir)) as checkpoints:
        step = checkpoints.choose(which)
        return step, checkpoints.restore(step, like, model_only=True)


def check_recorded(workdir: Path) -> None:
    """Raises InputError if a folder has a run's checkpoints but not the record of the run."""
    if (workdir / RUN_FILE).exists() or not (workdir / CHECKPOINTS).is_dir():
        return
    with Checkpoints(workdir / CHECKPOINTS, read_only=True, say=lambda line: None) as checkpoints:
        step = checkpoints.latest()
    if step is None:
        return
    copy = workdir / CHECKPOINTS / str(step) / RUN_FILE
    advice = f"restore it with: cp {copy} {workdir / RUN_FILE}" if copy.exists() else "restore the file"
    raise InputError(
        f"{workdir}: contains checkpoints of a run whose {RUN_FILE} is missing; {advice}, or choose another folder"
    )


def saved_score(folder: Path) -> float | None:
    """The score of the step that is saved there, None if it is incomplete or was not evaluated."""
    facts = _saved_facts(folder)
    return facts.get("score", facts.get("accuracy"))  # version 0.1.0 had face runs only


def saved_rank(folder: Path) -> tuple[bool, float] | None:
    """By which the best step is chosen, the greatest: whether no guarded benchmark fell, and the score; None without
    one."""
    score = saved_score(folder)
    return None if score is None else (not _saved_facts(folder).get("fell"), score)


def _saved_facts(folder: Path) -> dict[str, Any]:
    try:
        return read_manifest(folder).facts
    except Damaged:
        return {}


def _has_manifest(folder: Path) -> bool:
    try:
        read_manifest(folder)
        return True
    except Damaged:
        return False


def _facts(score: float | None, course: Course | None) -> dict[str, Any]:
    return {"score": score, **dataclasses.asdict(course or Course())}


def _read_model(folder: Path, target: Any) -> Any:
    """The saved tree of which only the model's leaves are read, the others are `...`."""
    wanted = jax.tree_util.tree_map_with_path(
        lambda path, leaf: leaf if stored_tree.of_model(path) else ocp.PLACEHOLDER, target
    )
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as checkpointer:
        restore_args = ocp.checkpoint_utils.construct_restore_args(wanted)
        return checkpointer.restore(folder, args=ocp.args.PyTreeRestore(wanted, restore_args=restore_args))
