"""Train an adapter on faces and verify it.

    adaptface train --config=dalora --workdir=runs/exp003 --benchmark lfw=/data/lfw.bin

Running the same command again goes on where the run stopped.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import itertools
import time
from pathlib import Path

import jax

from adaptface_jax.checks.run.records import read_run
from adaptface_jax.cli.command import run_command
from adaptface_jax.cli.parser import Parser
from adaptface_jax.core import trees
from adaptface_jax.core.environment import environment
from adaptface_jax.core.errors import InputError, RunError, Stopped
from adaptface_jax.core.files import disk_may_fill, locked
from adaptface_jax.core.progress import Progress
from adaptface_jax.distributed import processes
from adaptface_jax.distributed.mesh import place, sharding
from adaptface_jax.evaluation import tensorboard
from adaptface_jax.evaluation.baselines import baselines
from adaptface_jax.evaluation.embedding import Embedder
from adaptface_jax.evaluation.evaluator import evaluate, mean_accuracy, scalars
from adaptface_jax.evaluation.markdown import results_markdown
from adaptface_jax.evaluation.pair_scores import SCORES, PairScores, write_each
from adaptface_jax.evaluation.results import RESULTS, BenchmarkResult, Results, write_results
from adaptface_jax.report.run_page import run_page
from adaptface_jax.training import optim
from adaptface_jax.training.checkpoint import CHECKPOINTS, Checkpoints
from adaptface_jax.training.metric_log import MetricLog
from adaptface_jax.training.monitor import Monitor
from adaptface_jax.training.not_finite import not_finite
from adaptface_jax.training.plan import Plan, due, placed_batches, prepare
from adaptface_jax.training.run import abstract_state, check_same, write_record
from adaptface_jax.training.step import StepFunction, TrainState, init_state, make_step
from adaptface_jax.training.stopping import StopSignals
from adaptface_jax.training.summary import as_markdown, first_loss_line, parameter_counts, run_facts, summary, utc_now
from adaptface_jax.training.trackers import open_online


@dataclasses.dataclass
class Session:
    """What one sitting of a run works with; `results` and `scores` are those of the latest evaluation."""

    plan: Plan
    workdir: Path
    stop: StopSignals
    checkpoints: Checkpoints
    monitor: Monitor
    progress: Progress
    embedder: Embedder
    results: dict[str, BenchmarkResult] = dataclasses.field(default_factory=dict)
    scores: dict[str, PairScores] = dataclasses.field(default_factory=dict)

    def evaluate(self, state: TrainState) -> None:
        """Verify on every benchmark; a signal raises Stopped within."""
        plan = self.plan
        with self.stop.at_once():
            self.results, self.scores = evaluate(
                self.embedder, plan.model.frozen, state.trainable, plan.benchmarks, plan.config.eval.flip
            )

    def report(self, step: int) -> float:
        """Show the latest evaluation; returns what chooses the best checkpoint."""
        self.monitor.scalars(step, scalars(self.results))
        for name, entry in self.results.items():
            self.progress.write(
                f"step {step:,}  {name}: accuracy {100 * entry.accuracy:.2f}% "
                f"+- {100 * entry.accuracy_std:.2f}, AUC {entry.auc:.4f}"
            )
        tensorboard.distributions(self.monitor, step, self.scores)
        return mean_accuracy(self.results)


def train(plan: Plan, workdir: Path, stop: StopSignals) -> Results:
    """Run to the last step, from the latest sound checkpoint where there is one; returns the results.

    Raises Stopped after a signal and RunError where the run cannot go on, with what was trained saved.
    """
    config, model = plan.config, plan.model
    rate = optim.schedule(config.train, plan.steps_per_epoch, plan.total_steps)
    optimizer = optim.optimizer(config.train, rate)
    with Checkpoints(workdir / CHECKPOINTS, config.checkpoint.keep) as checkpoints:
        latest = checkpoints.latest()
        start = latest or 0
        if latest is None:
            state = place(plan.mesh, init_state(model.trainable, optimizer))
        else:
            state = checkpoints.restore(latest, abstract_state(config, model.trainable, plan.mesh))
            print(f"going on from step {start:,} of {plan.total_steps:,}", flush=True)
        with stop.at_once():
            baseline = baselines(model, config, plan.benchmarks, plan.mesh, workdir)
        online = open_online(config.monitor.wandb and processes.primary(), workdir, plan.record)
        with (
            Monitor(workdir if processes.primary() else None, start + 1 if start else 0, online) as monitor,
            Progress(plan.total_steps, start, "training") as progress,
        ):
            checkpoints.say = progress.write
            embedder = Embedder(model.recognizer, plan.mesh, config.eval.batch_size)
            session = Session(plan, workdir, stop, checkpoints, monitor, progress, embedder)
            if not start:
                monitor.text("config", as_markdown(plan.record))
                monitor.text("environment", as_markdown(environment()))
                monitor.scalars(0, scalars(baseline.frozen, "frozen"))
            if start < plan.total_steps:
                if processes.primary():
                    (workdir / RESULTS).unlink(missing_ok=True)
                state = run_steps(session, state, start, make_step(model.recognizer, optimizer, rate, plan.mesh))
            elif plan.benchmarks:  # the run was over: its report is made again
                session.evaluate(state)
                if checkpoints.accuracy(start) is None:  # or it was stopped within its last evaluation
                    checkpoints.save(start, state, session.report(start))
            write_each(workdir / SCORES, session.scores if processes.primary() else {})
            if not processes.agreed(int((workdir / RESULTS).exists())):
                draw(session, state)
        best = checkpoints.best()
    return Results(
        benchmarks=session.results,
        frozen=baseline.frozen,
        pixels=baseline.pixels,
        run=run_facts(config, model, plan.source, plan.total_steps, best),
        parameters=parameter_counts(model, plan.source.num_classes),
        environment=environment(),
        reported=utc_now(),
    )


@processes.losing_none()
def run_steps(session: Session, state: TrainState, start: int, step_function: StepFunction) -> TrainState:
    """The loop: from the state after step `start` to the one after the last step."""
    plan, stop, checkpoints = session.plan, session.stop, session.checkpoints
    config, total = plan.config, plan.total_steps
    everywhere = sharding(plan.mesh)
    key = jax.jit(lambda: jax.random.key(config.seed), out_shardings=everywhere)()
    agreement = processes.Agreement(sharding(plan.mesh, "batch"), everywhere)
    try:
        if plan.evaluation_due(start) and checkpoints.accuracy(start) is None:
            # The run was stopped within this evaluation.
            session.evaluate(state)
            checkpoints.save(start, state, session.report(start))
        with stop.at_once():
            data = placed_batches(plan, start, session.workdir)
            first = next(data)
        compiled = stop.in_background(step_function.lower(plan.model.frozen, state, first, key).compile)
    except Stopped:
        checkpoints.save(start, state)
        checkpoints.wait()
        raise
    data = itertools.chain((first,), data)
    log = MetricLog(session.monitor, session.progress, config.train.batch_size, start)
    with jax.transfer_guard("disallow"):
        for step in range(start + 1, total + 1):
            before = time.monotonic()
            try:
                batch = next(data)
            except InputError as error:
                checkpoints.save(step - 1, state)
                log.flush()
                kept = "is saved" if checkpoints.wait() else "COULD NOT BE SAVED"
                raise RunError(f"{error}; the run {kept} after step {step - 1:,}") from None
            log.waited(time.monotonic() - before)
            state, metrics = compiled(plan.model.frozen, state, batch, key)
            if step == 1:
                loss = float(jax.device_get(metrics["loss"]))
                session.progress.write(first_loss_line(loss, plan.expected_loss))
            if step in (1, total) or due(step, config.train.log_every):
                log.push(step, metrics)
            given_up = 0 < config.train.max_skipped <= log.skipped_in_a_row
            accuracy = failure = None
            if plan.evaluation_due(step) and not given_up:
                log.flush()
                try:
                    session.evaluate(state)
                    accuracy = session.report(step)
                except InputError as error:
                    failure = error
                except Stopped:  # made up for when the run goes on
                    pass
                log.restart(step)
            stopping = agreement.any(stop.received is not None)
            ending = step == total or stopping or given_up or failure
            if ending or accuracy is not None or due(step, config.checkpoint.every_steps):
                checkpoints.save(step, state, accuracy)
            checkpoints.check()
            if ending:
                log.flush()
                saved = checkpoints.wait()
            if given_up:
                raise not_finite(session.workdir, log, plan.source, config)
            if failure:
                kept = "is saved" if saved else "COULD NOT BE SAVED"
                raise RunError(f"the evaluation after step {step:,} failed, the state {kept}: {failure}")
            if stopping:
                kept = "a complete checkpoint is saved" if saved else "THIS STEP COULD NOT BE SAVED"
                signal = stop.received or "a signal to another process"
                raise Stopped(f"stopped by {signal} after step {step:,}; {kept}, run the same command to go on")
            if ending and not saved:
                raise RunError(f"the training ended, but its last step, {step:,}, could not be saved")
    return state


def draw(session: Session, state: TrainState) -> None:
    """The final model's curves, faces for those who asked for them, and its row in the table of runs."""
    plan, monitor, scores = session.plan, session.monitor, session.scores
    results, last = session.results, plan.total_steps
    with session.stop.at_once():
        tensorboard.curves(monitor, last, results, scores)
        if plan.config.monitor.images and scores:
            pair = plan.model.frozen, state.trainable
            tensorboard.faces(monitor, last, plan.benchmarks, scores, session.embedder, *pair)
        monitor.hparams(trees.flatten(plan.record["config"], "."), scalars(results))


def main(args: argparse.Namespace) -> None:
    """The story of a run: check everything, say it, train, report."""
    workdir = Path(args.workdir)
    processes.join(args.coordinator, args.num_processes, args.process_id)
    with processes.losing_none(), StopSignals(alone=not processes.several()) as stop:
        with stop.at_once():
            plan = prepare(args.config)
            check_same(workdir, plan.record, args.override_resume)
            processes.wait_for_all("checked")
            print(
                summary(
                    plan.config,
                    plan.model,
                    plan.source,
                    plan.benchmarks,
                    (plan.steps_per_epoch, plan.total_steps),
                    plan.expected_loss,
                ),
                flush=True,
            )
        if args.dry_run:
            return
        busy = f"--workdir: another process is training in {workdir}; wait, or choose another"
        with disk_may_fill(workdir), locked(workdir, busy) if processes.primary() else contextlib.nullcontext():
            if processes.primary():
                write_record(workdir, plan.record)
            processes.wait_for_all("recorded")
            results = train(plan, workdir, stop)
            if processes.primary():
                write_results(workdir, results, results_markdown(results), run_page(read_run(workdir, results=results)))
            processes.wait_for_all("written")
    print(results_markdown(results))
    print(f"written: {workdir}/results.html, results.md, results.json; see also: tensorboard --logdir {workdir}")


def parser() -> Parser:
    """The command line."""
    result = Parser(__doc__ or "", settings=True)
    result.add_argument("--workdir", required=True, metavar="DIR", help="the run's folder; an existing run goes on")
    result.add_argument(
        "--benchmark", action="append", metavar="NAME=PATH", help="verify on this; repeatable, replaces data.benchmarks"
    )
    result.add_argument(
        "--override_resume", action="store_true", help="go on with changed settings that do no harm (epochs, logging)"
    )
    processes.add_flags(result)
    result.add_argument("--dry_run", action="store_true", help="check everything, print the header and stop")
    return result


if __name__ == "__main__":
    run_command(main, parser(), processes.part)
