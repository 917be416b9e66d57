# SPDX-License-Identifier: Apache-2.0
"""The training loop: from the latest intact checkpoint to the last step, with evaluations, saves and early stops."""

from __future__ import annotations

import dataclasses
import itertools
import time
from pathlib import Path
from typing import NamedTuple, Protocol

import jax

from adaptface_jax.core.environment import environment
from adaptface_jax.core.errors import InputError, RunError, Stopped
from adaptface_jax.core.progress import Phase, Progress
from adaptface_jax.core.text import plural
from adaptface_jax.distributed import processes
from adaptface_jax.distributed.mesh import sharding
from adaptface_jax.distributed.peaks import bfloat16_peak
from adaptface_jax.training import optim
from adaptface_jax.training.arithmetic import Cost, cost
from adaptface_jax.training.checkpoint import CHECKPOINTS, Checkpoints
from adaptface_jax.training.early_stopping import Course
from adaptface_jax.training.evidence import Evidence
from adaptface_jax.training.metric_log import MetricLog
from adaptface_jax.training.monitor import METRICS_FILE, Monitor
from adaptface_jax.training.not_finite import not_finite
from adaptface_jax.training.plan import Plan, due, placed_batches
from adaptface_jax.training.profile import Profile
from adaptface_jax.training.run import RESULTS, abstract_state
from adaptface_jax.training.step import StepFunction, TrainState, begin_state, make_step
from adaptface_jax.training.stopping import StopSignals
from adaptface_jax.training.summary import as_markdown, first_loss_line
from adaptface_jax.training.trackers import open_online

SLOW = 1.0  # seconds per step, above which dispatching the next step ahead of time gains nothing


class Judge(Protocol):
    """Evaluates a model: faces by pairs, classes by labels. A signal raises Stopped within its methods."""

    def begin(self) -> None:
        """Before the first step of every session: measure the baselines."""

    def begun(self, monitor: Monitor) -> None:
        """Report the baselines, once per run."""

    def evaluate(self, state: TrainState) -> None:
        """Measure; raises InputError if the data has become unreadable."""

    def report(self, step: int, monitor: Monitor, progress: Progress) -> float:
        """Report the latest evaluation; returns its score, the higher the better."""

    def fell(self) -> str:
        """The guarded benchmarks on which the latest evaluation fell, or ""."""

    def objection(self) -> str:
        """Why the run should end with the latest evaluation, or ""."""

    def end(self, step: int, state: TrainState, monitor: Monitor, drawn: bool) -> None:
        """After the last step: store what belongs to the results, and draw it unless that was done before."""


class Ending(NamedTuple):
    """steps: how many were trained. best: the step of the best checkpoint, None if none was evaluated.

    early: why the run ended before its last step, or "".
    """

    steps: int
    best: int | None
    early: str


@dataclasses.dataclass
class Session:
    """What one session of a run works with. profile: how many steps are traced."""

    plan: Plan
    workdir: Path
    stop: StopSignals
    checkpoints: Checkpoints
    monitor: Monitor
    evidence: Evidence
    progress: Progress
    judge: Judge
    course: Course
    profile: int = 0

    def evaluate(self, state: TrainState) -> None:
        with self.stop.at_once(), Phase("verifying", brief=True):
            self.judge.evaluate(state)

    def report(self, step: int) -> float:
        """Report the latest evaluation, and count its score."""
        score = self.judge.report(step, self.monitor, self.progress)
        course = self.course.after(score, self.judge.fell())
        self.course = dataclasses.replace(course, objection=self.judge.objection())
        return score

    def save(self, step: int, state: TrainState, score: float | None = None) -> None:
        """Start saving a step; its row and its evidence are written first, since a killed run resumes after it."""
        self.evidence.note(step, state)
        self.evidence.flush()
        if line := self.evidence.changed():
            self.progress.write(line)
        self.checkpoints.save(step, state, score, self.course)

    def ended_early(self) -> str:
        """Why the run ended before its last step, or ""."""
        if self.course.objection:
            return self.course.objection
        patience = self.plan.config.train.patience
        if self.course.exhausted(patience):
            times = f"{patience} evaluations" if patience > 1 else "one evaluation"
            return f"no better score in {times} (train.patience)"
        return f"the loss is below {self.plan.enough:g}" if self.course.over else ""


def train(plan: Plan, workdir: Path, stop: StopSignals, judge: Judge, profile: int = 0) -> Ending:
    """Train to the last step, or to an early end, from the latest intact checkpoint if there is one.

    Raises Stopped after a signal and RunError if the run cannot continue, with the training so far saved.
    """
    config = plan.config
    rate = optim.schedule(config.train, plan.steps_per_epoch, plan.total_steps)
    optimizer = optim.optimizer(config.train, rate, loss=plan.centers)
    keep, milestones = config.checkpoint.keep, config.checkpoint.keep_every
    with Checkpoints(workdir / CHECKPOINTS, keep, record=plan.record, keep_every=milestones) as checkpoints:
        latest = checkpoints.latest()
        step = start = latest or 0
        if latest is None:
            if (workdir / METRICS_FILE).is_file():
                print(f"no complete checkpoint in {workdir / CHECKPOINTS}: training starts again", flush=True)
            state = begin_state(plan.trainable, optimizer, plan.statistics, plan.mesh)
        else:
            like = abstract_state(config.train, plan.trainable, plan.statistics, plan.mesh, plan.centers)
            for leaf in jax.tree.leaves(plan.trainable):
                leaf.delete()  # as the first step would have, or the initial values would take memory to the end
            state = checkpoints.restore(latest, like)
            print(_resuming(start, plan.total_steps), flush=True)
        with stop.at_once():
            judge.begin()
        online = open_online(config.monitor.wandb and processes.primary(), workdir, plan.record)
        written = workdir if processes.primary() else None
        # An evaluation counts once its score is in the checkpoint: one that was reported but not counted is repeated.
        again = "eval/" if start and checkpoints.score(start) is None else ""
        with (
            Evidence(written, plan, start) as evidence,
            Monitor(written, start + 1 if start else 0, online, evidence.row, again) as monitor,
            Progress(plan.total_steps, start, "training") as progress,
        ):
            checkpoints.say = progress.write
            course = checkpoints.course(start) if start else Course()
            session = Session(plan, workdir, stop, checkpoints, monitor, evidence, progress, judge, course, profile)
            evidence.begin(state)
            if not start:
                monitor.text("config", as_markdown(plan.record))
                monitor.text("environment", as_markdown(environment()))
                judge.begun(monitor)
            if start < plan.total_steps and not session.ended_early():
                if processes.primary():
                    (workdir / RESULTS).unlink(missing_ok=True)
                step_function = make_step(
                    plan.loss, optimizer, rate, plan.mesh, config.train.grad_accum, plan.compiler_options, plan.sampler
                )
                step, state = run_steps(session, state, start, step_function)
            elif plan.evaluated:  # the run had ended: its report is made again
                session.evaluate(state)
                if checkpoints.score(start) is None:  # or it was stopped during its last evaluation
                    checkpoints.save(start, state, session.report(start), session.course)
            if plan.enough is not None and not session.course.over:
                progress.write(
                    f"after {step:,} steps the loss is not below {plan.enough:g}: a working model memorizes a few "
                    "images; check labels, preprocessing, train.learning_rate and train.steps"
                )
            with stop.at_once(), Phase("drawing the curves for TensorBoard", brief=True):
                judge.end(step, state, monitor, bool(processes.agreed(int((workdir / RESULTS).exists()))))
        best = checkpoints.best()
        if (line := checkpoints.passed_over(best)) and processes.primary():
            print(line, flush=True)
    return Ending(step, best, session.ended_early() if step < plan.total_steps else "")


def _resuming(start: int, total: int) -> str:
    if start > total:
        return f"the last checkpoint is of step {start:,}, these settings end at {total:,}: nothing is left to train"
    return f"resuming from step {start:,} of {total:,}"


@processes.losing_none()
def run_steps(session: Session, state: TrainState, start: int, step_function: StepFunction) -> tuple[int, TrainState]:
    """The loop from the state after step `start`; returns the last step and the state after it."""
    plan, stop, checkpoints, evidence = session.plan, session.stop, session.checkpoints, session.evidence
    config, total = plan.config, plan.total_steps
    everywhere = sharding(plan.mesh)
    key = jax.jit(lambda: jax.random.key(config.seed), out_shardings=everywhere)()
    agreement = processes.Agreement(sharding(plan.mesh, "batch"), everywhere)
    try:
        if plan.evaluation_due(start) and checkpoints.score(start) is None:
            # The run was stopped during this evaluation.
            session.evaluate(state)
            checkpoints.save(start, state, session.report(start), session.course)
            if session.ended_early():
                checkpoints.wait()
                return start, state
        with stop.at_once():
            plan = plan.completed()
        with stop.at_once(), Phase("reading the first batch", brief=True):
            data = placed_batches(plan, start, session.workdir, evidence.saw)
            first = next(data)
        with Phase(
            f"compiling the training step; then {plural(total - start, 'step')} of {config.train.batch_size} images"
        ):
            traced = step_function.trace(plan.frozen, state, first, key)
            compiled = stop.in_background(traced.lower().compile)
    except Stopped:
        checkpoints.save(start, state, course=session.course)
        checkpoints.wait()
        raise
    data = itertools.chain((first,), data)
    costs = cost(traced, compiled, plan.mesh.size)
    session.progress.write(costs.line())
    log = MetricLog(session.monitor, session.progress, config.train.batch_size, start, share_of_peak(plan, costs))
    step, running, slow = start, (), True
    profile = Profile(session.workdir, session.profile, start + 1, session.progress.write)
    with jax.transfer_guard("disallow"), profile:
        for step in range(start + 1, total + 1):
            before = time.monotonic()
            try:
                batch = next(data)
            except InputError as error:
                log.flush()
                session.save(step - 1, state)
                kept = "is saved" if checkpoints.wait() else "COULD NOT BE SAVED"
                raise RunError(f"{error}; the run {kept} after step {step - 1:,}") from None
            log.waited(time.monotonic() - before)
            begun = time.monotonic()
            with profile.before(step, running):
                state, metrics = compiled(plan.frozen, state, batch, key)
            # One step at most is queued on the device, and none if steps are slow: a signal ends the run after the one
            # in progress.
            jax.block_until_ready(metrics if slow else running)
            running, slow = metrics, time.monotonic() - begun > SLOW
            session.progress.at(step)
            if step == 1:
                loss = float(jax.device_get(metrics["loss"]))
                session.progress.write(first_loss_line(loss, plan.expected_loss))
            if step in (1, total) or due(step, config.train.log_every):
                log.push(step, metrics)
                evidence.note(step, state)
                if plan.enough is not None and log.latest[1].get("loss", plan.enough) < plan.enough:
                    session.course = dataclasses.replace(session.course, over=True)
            given_up = 0 < config.train.max_skipped <= log.skipped_in_a_row
            score = failure = None
            if plan.evaluation_due(step) and not given_up:
                log.flush()
                try:
                    session.evaluate(state)
                    score = session.report(step)
                except InputError as error:
                    failure = error
                except Stopped:  # repeated when the run resumes
                    pass
                log.restart(step)
            stopping = agreement.any(stop.received is not None)
            early = session.ended_early()
            ending = step == total or early or stopping or given_up or failure
            saves = (config.checkpoint.every_steps, config.checkpoint.keep_every)
            if ending or score is not None or any(due(step, every) for every in saves):
                log.flush()
                session.save(step, state, score)
            checkpoints.check()
            if ending:
                with Phase("saving", brief=True):
                    saved = checkpoints.wait()
            if given_up:
                raise not_finite(session.workdir, log, plan.source, config)
            if failure:
                kept = "is saved" if saved else "COULD NOT BE SAVED"
                raise RunError(f"the evaluation after step {step:,} failed, the state {kept}: {failure}")
            if stopping:
                kept = "a complete checkpoint is saved" if saved else "THIS STEP COULD NOT BE SAVED"
                signal = stop.received or "a signal to another process"
                raise Stopped(f"stopped by {signal} after step {step:,}; {kept}, run the same command to resume")
            if ending and not saved:
                raise RunError(f"the training ended, but its last step, {step:,}, could not be saved")
            if early:
                session.progress.write(f"ended early after step {step:,} of {total:,}: {early}")
                break
    return step, state


def share_of_peak(plan: Plan, costs: Cost) -> float | None:
    """One step per second as a share of the device's peak; None if that is unknown, or the model is not in bfloat16."""
    peak = bfloat16_peak(jax.local_devices()[0].device_kind)
    low = any(leaf.dtype == jax.numpy.bfloat16 for leaf in jax.tree.leaves(plan.frozen))
    return costs.flops / peak if peak and low else None
