"""What every training command does around its loop: the check that a run resumes unchanged, the lock."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from adaptface_jax.core.environment import versions
from adaptface_jax.core.files import disk_may_fill, locked
from adaptface_jax.core.outputs import check_inside
from adaptface_jax.core.progress import Phase
from adaptface_jax.data.bad_records import skipped_lines
from adaptface_jax.distributed import processes
from adaptface_jax.distributed.agreement import check_agreed
from adaptface_jax.distributed.allocator import compute_in_calling_thread
from adaptface_jax.evaluation.pair_scores import SCORES
from adaptface_jax.training.checkpoint import CHECKPOINTS, check_recorded
from adaptface_jax.training.evidence import seal
from adaptface_jax.training.loop import Ending, Judge, train
from adaptface_jax.training.monitor import METRICS_FILE
from adaptface_jax.training.plan import Plan
from adaptface_jax.training.run import MARKDOWN, PAGE, RESULTS, RUN_FILE, check_same, read_record, write_record
from adaptface_jax.training.stopping import StopSignals

AnyPlan = TypeVar("AnyPlan", bound=Plan)
AnyJudge = TypeVar("AnyJudge", bound=Judge)


def run_training(
    args: argparse.Namespace,
    prepare: Callable[[Mapping[str, Any] | None], AnyPlan],
    summary: Callable[[AnyPlan], str],
    judge_of: Callable[[AnyPlan, Path], AnyJudge],
    report: Callable[[AnyPlan, AnyJudge, Ending, Path], None],
) -> None:
    """The course of a run: check everything, print it, train, report.

    prepare: from the record of the run to resume, or None, to the plan. report: called by every process after training;
    the primary one writes. A signal ends it, and the same command makes the report again.
    """
    workdir = Path(args.workdir)
    compute_in_calling_thread()
    processes.join(args.coordinator, args.num_processes, args.process_id, args.join_timeout)
    with processes.losing_none(), StopSignals(alone=not processes.several()) as stop:
        with stop.at_once():
            check_inside(workdir, (RUN_FILE, METRICS_FILE, RESULTS, PAGE, MARKDOWN), (CHECKPOINTS, SCORES))
            check_recorded(workdir)
            old = read_record(workdir)
            check_agreed("their settings", {"config": dataclasses.asdict(args.config), "run": old, **versions()})
            with Phase("opening data, model and benchmarks"):
                plan = prepare(old)
            check_agreed("what they found", plan.record)
            check_same(workdir, old, plan.record, args.override_resume)
            processes.wait_for_all("checked")
            print(summary(plan), flush=True)
        if args.dry_run:
            return
        busy = f"--workdir: another process is training in {workdir}; wait, or choose another"
        with disk_may_fill(workdir), locked(workdir, busy) if processes.primary() else contextlib.nullcontext():
            if processes.primary():
                write_record(workdir, plan.record)
            processes.wait_for_all("recorded")
            judge = judge_of(plan, workdir)
            ending = train(plan, workdir, stop, judge, args.profile)
            with stop.at_once():
                report(plan, judge, ending, workdir)
                if processes.primary():
                    seal(workdir)
                print("".join(f"{line}\n" for line in skipped_lines(workdir)), end="", flush=True)
            processes.wait_for_all("written")
