# SPDX-License-Identifier: Apache-2.0
"""What `adaptface train` does."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from adaptface_jax.checks.run.records import FaceRun, read_run
from adaptface_jax.cli.training import run_training
from adaptface_jax.core.environment import environment, provenance
from adaptface_jax.core.progress import Phase, Progress
from adaptface_jax.core.text import listed
from adaptface_jax.data.benchmarks.synthetic import generated_of
from adaptface_jax.distributed import processes
from adaptface_jax.evaluation import tensorboard
from adaptface_jax.evaluation.baselines import Baselines, baselines
from adaptface_jax.evaluation.embedding import Embedder
from adaptface_jax.evaluation.evaluator import evaluate, mean_accuracy, scalars
from adaptface_jax.evaluation.guard import change_line, fallen
from adaptface_jax.evaluation.markdown import results_markdown, verdict_lines
from adaptface_jax.evaluation.pair_scores import FROZEN, SCORES, PairScores, read_scores, write_each
from adaptface_jax.evaluation.results import BenchmarkResult, Results, write_results
from adaptface_jax.evaluation.statistics.paired_test import changes
from adaptface_jax.report.experiment import experiment_markdown
from adaptface_jax.report.run_page import run_page
from adaptface_jax.training.averaging import used
from adaptface_jax.training.loop import Ending
from adaptface_jax.training.monitor import Monitor
from adaptface_jax.training.recognition.plan import RecognitionPlan, prepare
from adaptface_jax.training.recognition.summary import parameter_counts, run_facts, summary
from adaptface_jax.training.step import TrainState
from adaptface_jax.training.summary import utc_now


class Verifier:
    """Evaluates a face training (`training.loop.Judge`): the benchmarks' pairs, next to the frozen backbone.

    results, scores: of the latest evaluation.
    """

    def __init__(self, plan: RecognitionPlan, workdir: Path) -> None:
        self._plan, self._workdir = plan, workdir
        self._embedder = Embedder(plan.model.recognizer, plan.mesh, plan.config.eval.batch_size, plan.stored_size)
        self.baseline = Baselines({}, {})
        self.results: Mapping[str, BenchmarkResult] = {}
        self.scores: Mapping[str, PairScores] = {}
        self._fell = self._objection = ""

    def begin(self) -> None:
        plan = self._plan
        self.baseline = baselines(plan.model, plan.config, plan.benchmarks, plan.mesh, self._workdir)

    def begun(self, monitor: Monitor) -> None:
        tensorboard.beginning(monitor, self.baseline.frozen)

    def evaluate(self, state: TrainState) -> None:
        plan = self._plan
        trained = used(state.trainable, state.opt_state)
        found = evaluate(self._embedder, plan.frozen, trained, plan.benchmarks, plan.config.eval.flip)
        self.results, self.scores = found

    def report(self, step: int, monitor: Monitor, progress: Progress) -> float:
        monitor.scalars(step, scalars(self.results))
        for name, entry in self.results.items():
            progress.write(
                f"step {step:,}  {name}: accuracy {100 * entry.accuracy:.2f}% "
                f"+- {100 * entry.accuracy_std:.2f}, AUC {entry.auc:.4f}"
            )
        tensorboard.distributions(monitor, step, self.scores)
        self._guard(progress)
        return mean_accuracy(self.results)

    def _guard(self, progress: Progress) -> None:
        """Report guarded benchmarks that have fallen, and note it: such a step is never the best, or ends the run."""
        guarded, wanted = self._plan.config.eval, set(self._plan.config.eval.guard)
        before: dict[str, PairScores] = {}
        if wanted and processes.primary():
            for name in wanted:
                before |= read_scores(self._workdir / SCORES / FROZEN / f"{name}.npz")
        lost = fallen(changes(before, self.scores), guarded.guard, guarded.guard_points)
        for name, found in lost.items():
            progress.write(f"eval.guard: {change_line(name, found)}")
        # Other processes know that something fell, not what.
        any_lost = bool(processes.agreed(int(bool(lost))))
        self._fell = listed(list(lost) or guarded.guard) if any_lost else ""
        stops = any_lost and guarded.guard_action == "stop"
        self._objection = f"{self._fell} fell (eval.guard)" if stops else ""

    def fell(self) -> str:
        return self._fell

    def objection(self) -> str:
        return self._objection

    def end(self, step: int, state: TrainState, monitor: Monitor, drawn: bool) -> None:
        """The final model's curves, faces if asked for, and its row in the table of runs."""
        plan, scores = self._plan, self.scores
        write_each(self._workdir / SCORES, scores if processes.primary() else {})
        if drawn:
            return
        tensorboard.curves(monitor, step, self.results, scores)
        if plan.config.monitor.images and scores:
            pair = plan.frozen, used(state.trainable, state.opt_state)
            tensorboard.faces(monitor, step, plan.benchmarks, scores, self._embedder, *pair)
        tensorboard.row_of_runs(monitor, plan.record["config"], self.results)


def results_of(plan: RecognitionPlan, judge: Verifier, ending: Ending) -> Results:
    """The run's results."""
    return Results(
        benchmarks=dict(judge.results),
        frozen=judge.baseline.frozen,
        pixels=judge.baseline.pixels,
        run=run_facts(plan.config, plan.model, plan.source, ending),
        parameters=parameter_counts(plan.model, plan.source.num_classes),
        environment=provenance("train") | environment(),
        reported=utc_now(),
        generated=generated_of(plan.config.data.benchmarks),
    )


def report(plan: RecognitionPlan, judge: Verifier, ending: Ending, workdir: Path) -> None:
    """Write and print the run's results."""
    with Phase("testing against the frozen backbone, writing the report"):
        results = results_of(plan, judge, ending)
        run = cast(FaceRun, read_run(workdir, results=results))
        results = dataclasses.replace(results, changes=changes(run.frozen_scores.found, judge.scores))
        run = cast(FaceRun, read_run(workdir, results=results))
        if processes.primary():
            write_results(workdir, results, experiment_markdown(run), run_page(run))
    print(results_markdown(results))
    print("\n".join(verdict_lines(results)))
    print(f"written: {workdir}/results.html, results.md, results.json; see also: tensorboard --logdir {workdir}")


def work(args: argparse.Namespace) -> None:
    """Train and report."""
    run_training(args, lambda record: prepare(args.config, record), summary, Verifier, report)
