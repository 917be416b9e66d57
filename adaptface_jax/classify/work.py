# SPDX-License-Identifier: Apache-2.0
"""What `adaptface classify` does."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from adaptface_jax.checks.run.records import read_run
from adaptface_jax.cli.training import run_training
from adaptface_jax.core import trees
from adaptface_jax.core.environment import environment, provenance
from adaptface_jax.core.files import write_text
from adaptface_jax.core.json_io import to_json
from adaptface_jax.core.progress import Phase, Progress
from adaptface_jax.distributed import processes
from adaptface_jax.evaluation.classification import tensorboard
from adaptface_jax.evaluation.classification.baselines import blind_baselines, pixel_baselines
from adaptface_jax.evaluation.classification.evaluator import Evaluator
from adaptface_jax.evaluation.classification.markdown import classification_markdown, split_table
from adaptface_jax.evaluation.classification.metrics import scalars, score
from adaptface_jax.evaluation.classification.results import (
    BaselineScore,
    ClassificationResults,
    SplitResult,
    read_classification,
)
from adaptface_jax.evaluation.results import write_results
from adaptface_jax.models.classifier import parameter_counts
from adaptface_jax.report.run_page import run_page
from adaptface_jax.training.classification.plan import ClassificationPlan, prepare
from adaptface_jax.training.classification.run import open_classifier, restored
from adaptface_jax.training.classification.samples import augmented_samples
from adaptface_jax.training.classification.summary import classifier_facts, parts, shares, summary
from adaptface_jax.training.evidence import seal
from adaptface_jax.training.loop import Ending
from adaptface_jax.training.monitor import Monitor
from adaptface_jax.training.run import MARKDOWN, RESULTS
from adaptface_jax.training.step import TrainState
from adaptface_jax.training.summary import utc_now

VALIDATION, TEST = "validation", "test"


class Examiner:
    """Evaluates a classification run (`training.loop.Judge`): the validation split, next to blind baselines."""

    def __init__(self, plan: ClassificationPlan, _: Path) -> None:
        self._plan = plan
        self._evaluate = Evaluator(plan)
        others = {name: source for name, source in parts(plan).items() if name != "train"}
        self.baselines = blind_baselines(plan.source, others, plan.config.seed)
        self.result: SplitResult | None = None

    def begin(self) -> None:
        for split, found in self.baselines.items():
            said = ", ".join(
                f"{name} {100 * entry.accuracy:.2f}% (macro F1 {entry.macro_f1:.4f})" for name, entry in found.items()
            )
            print(f"to beat   on {split}: {said}", flush=True)

    def begun(self, monitor: Monitor) -> None:
        for name, entry in self.baselines[VALIDATION].items():
            monitor.scalars(0, {f"baseline/{VALIDATION}/{name}/{tag}": value for tag, value in vars(entry).items()})
        monitor.layout(tensorboard.STORY)
        if self._plan.config.monitor.images:
            tensorboard.pictures(monitor, 0, *augmented_samples(self._plan))

    def evaluate(self, state: TrainState) -> None:
        self.result = self._evaluate(state.trainable, state.statistics, self._plan.splits.validation)

    def report(self, step: int, monitor: Monitor, progress: Progress) -> float:
        result = self._found
        monitor.scalars(step, scalars(result, VALIDATION))
        progress.write(f"step {step:,}  {VALIDATION}: {words(result)}")
        return score(result, self._plan.config.eval.metric)

    def fell(self) -> str:
        return ""

    def objection(self) -> str:
        return ""

    def end(self, step: int, state: TrainState, monitor: Monitor, drawn: bool) -> None:
        if self.result is None or drawn:
            return
        tensorboard.confusion(monitor, step, self.result, VALIDATION)
        metrics = scalars(self.result, VALIDATION)
        monitor.hparams(trees.flatten(self._plan.record["config"], "."), metrics)

    def of(self, split: str, step: int, state: TrainState) -> SplitResult:
        """A checkpoint evaluated on a split."""
        return self._evaluate(state.trainable, state.statistics, parts(self._plan)[split], step)

    @property
    def _found(self) -> SplitResult:
        if self.result is None:
            raise RuntimeError("nothing was evaluated")
        return self.result


def words(result: SplitResult) -> str:
    """The metrics of a split in one line."""
    exact = "" if result.exact_match is None else f", exact match {100 * result.exact_match:.2f}%"
    return f"loss {result.loss:.4f}, accuracy {100 * result.accuracy:.2f}%, macro F1 {result.macro_f1:.4f}{exact}"


def results_of(plan: ClassificationPlan, judge: Examiner, ending: Ending, workdir: Path) -> ClassificationResults:
    """The run's results: its best checkpoint on the validation split, and on the test split if that was asked for
    before."""
    step, state = restored(plan, workdir, "best")
    baselines: dict[str, dict[str, BaselineScore]] = judge.baselines
    if plan.config.eval.pixel_baseline:
        others = {name: source for name, source in parts(plan).items() if name != "train"}
        linear = pixel_baselines(plan.source, others, plan.config.data.bad_records == "skip")
        baselines = {name: found | linear[name] for name, found in baselines.items()}
    return ClassificationResults(
        validation=judge.of(VALIDATION, step, state),
        test=known_test(workdir, step),
        baselines=baselines,
        distribution={name: shares(source) for name, source in parts(plan).items()},
        run=classifier_facts(plan, ending),
        parameters=parameter_counts(plan.trainable),
        environment=provenance("classify") | environment(),
        reported=utc_now(),
    )


def known_test(workdir: Path, step: int) -> SplitResult | None:
    """The test result in an earlier report of the same checkpoint."""
    if not (workdir / RESULTS).exists():
        return None
    kept = read_classification(workdir / RESULTS)
    return kept.test if kept.test is not None and kept.test.checkpoint == step else None


def write(workdir: Path, results: ClassificationResults) -> None:
    """The three reports of a run."""
    page = run_page(read_run(workdir, results=results))
    write_results(workdir, results, classification_markdown(results), page)


def report(plan: ClassificationPlan, judge: Examiner, ending: Ending, workdir: Path) -> None:
    """Write and print the run's results; an overfitting run (`--overfit_small`) has only its loss."""
    if not plan.evaluated:
        return
    with Phase("evaluating the best checkpoint, writing the report"):
        results = results_of(plan, judge, ending, workdir)
        if processes.primary():
            write(workdir, results)
    print(classification_markdown(results))
    print(f"written: {workdir}/results.html, results.md, results.json; see also: tensorboard --logdir {workdir}")


def evaluate_run(args: argparse.Namespace) -> None:
    """Evaluate a trained classifier on one of its splits; the best checkpoint's result joins the run's results."""
    workdir = Path(args.evaluate)
    plan, step = open_classifier(workdir, args.checkpoint, args.data or "")
    source = parts(plan)[args.split]
    result = Evaluator(plan)(plan.trainable, plan.statistics, source, step)
    baselines = blind_baselines(plan.source, {args.split: source}, plan.config.seed)
    print(f"{args.split} of {workdir}: {words(result)}\n\n{split_table(result, baselines[args.split])}")
    if args.output:
        report = {"run": str(workdir), "split": args.split, "result": result, "baselines": baselines[args.split]}
        write_text(Path(args.output), to_json(report, indent=2) + "\n")
        print(f"written: {args.output}")
    if args.split == "train" or not (workdir / RESULTS).exists():
        return
    kept = read_classification(workdir / RESULTS)
    if kept.run is not None and kept.run.best_checkpoint == step:
        on_test = args.split == TEST
        added = dataclasses.replace(kept, test=result) if on_test else dataclasses.replace(kept, validation=result)
        write(workdir, added)
        seal(workdir, (RESULTS, MARKDOWN))
        print(f"the {args.split} metrics are now in {workdir}/results.html, results.md and results.json")


def work(args: argparse.Namespace) -> None:
    """Train or evaluate."""
    if args.evaluate is None:
        run_training(args, lambda record: prepare(args.config, record), summary, Examiner, report)
        return
    args.split, args.checkpoint = args.split or TEST, args.checkpoint or "best"
    evaluate_run(args)
