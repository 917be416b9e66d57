# SPDX-License-Identifier: Apache-2.0
"""What `adaptface replay` does."""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from adaptface_jax.checks.finding import Finding, Section, Severity, note, ok
from adaptface_jax.checks.replay.exported import exported
from adaptface_jax.checks.replay.kept import checkpoint_steps, kept
from adaptface_jax.checks.replay.recorded_run import RecordedRun, read_recorded_run
from adaptface_jax.checks.replay.replayer import Replayer, differences
from adaptface_jax.checks.replay.sources import ORDER, changed, sources
from adaptface_jax.checks.replay.windows import Window, choose_windows
from adaptface_jax.checks.terminal import Report, as_json
from adaptface_jax.config.overrides import AnyConfig
from adaptface_jax.config.schema import Config
from adaptface_jax.core.files import write_text
from adaptface_jax.core.json_io import to_json
from adaptface_jax.core.text import plural
from adaptface_jax.core.version import __version__
from adaptface_jax.distributed.mesh import here
from adaptface_jax.training.classification import plan as classification
from adaptface_jax.training.plan import Plan
from adaptface_jax.training.recognition import plan as recognition
from adaptface_jax.training.run import recorded_config


def work(args: argparse.Namespace) -> None:
    """Check what was kept, run windows again, print the verdict, exit with 1 if something differs."""
    began = time.monotonic()
    recorded = read_recorded_run(Path(args.run))
    print(
        f"adaptface_jax {__version__} replay: the run in {recorded.workdir}, {plural(recorded.trained, 'step')}",
        flush=True,
    )
    report, sections = Report(), list[Section]()
    for section in _sections(recorded, args, began):
        sections.append(section)
        report.section(section)
    if args.output:
        write_text(Path(args.output), to_json(as_json(sections, str(recorded.workdir)), indent=2) + "\n")
        print(f"\nwritten: {args.output}")
    wrong = [finding for section in sections for finding in section.findings if finding.severity is Severity.FAULT]
    print("\n" + _verdict(recorded, wrong), flush=True)
    if wrong:
        sys.exit(1)


def _sections(recorded: RecordedRun, args: argparse.Namespace, began: float) -> Iterator[Section]:
    yield Section("records", "of the run itself", tuple(kept(recorded)))
    record = recorded.first_record
    plan = _plan(recorded, recorded_config(recorded.workdir, record))
    yield Section("sources", "what it was trained from", tuple(sources(recorded, plan)))
    intact, findings = checkpoint_steps(recorded)
    replayer = Replayer(recorded, plan, args.tolerance)
    for step in list(intact):
        if (finding := replayer.kept(step)) is not None:
            findings.append(finding)
            intact.remove(step)
    steps = f": {', '.join(f'{step:,}' for step in intact[-8:])}" if intact else ""
    if not findings:
        if intact:
            findings.append(ok("state", "every array is as in the training"))
        if recorded.trained not in intact and (recorded.ended or not intact):
            findings.append(note("last step", f"no checkpoint of step {recorded.trained:,}: its state is not verified"))
    yield Section("checkpoints", f"{plural(len(intact), 'checkpoint')}{steps}", tuple(findings))
    if args.exported:
        yield Section("exported", args.exported, (exported(Path(args.exported), plan, replayer, intact),))
    if any(name in ORDER for name in changed(record, plan.record)):
        yield Section("windows", "none", (note("steps", "not replayed: their records no longer exist"),))
        return
    yield _windows(recorded, args, replayer, plan, intact, began)


def _windows(
    recorded: RecordedRun, args: argparse.Namespace, replayer: Replayer, plan: Plan, intact: list[int], began: float
) -> Section:
    allowed = int(args.share / 100 * recorded.trained)
    known = sorted({*recorded.states, *recorded.logged})
    stops = [session.step for session in recorded.sessions]
    starts = [step for step in (0, *intact) if step or not recorded.sessions or recorded.sessions[0].step == 0]
    windows = choose_windows(starts, known, stops, args.windows, allowed, args.seed)
    findings: list[Finding] = []
    for reason in dict.fromkeys(", ".join(differences(recorded.session_of(window.start))) for window in windows):
        if reason:
            findings.append(note("tolerance", f"compared to {args.tolerance:g}, not bit for bit: {reason}"))
    own = plan.config
    for window in windows:
        session = recorded.session_of(window.start)
        config = own if session is None else _alone(recorded_config(recorded.workdir, session.record))
        if config != plan.config:
            plan = _plan(recorded, config)
            replayer = Replayer(recorded, plan, args.tolerance)
        findings.append(replayer.run(window))
    if len(windows) < args.windows:
        why = f"{len(windows)} of {args.windows} windows: {plural(len(starts), 'start')}, {args.share:g}% of the steps"
        findings.append(note("windows", why, "checkpoint.keep_every keeps more checkpoints; --share replays more"))
    findings.append(_cost(recorded, own, windows, time.monotonic() - began))
    return Section("windows", f"--seed={args.seed}", tuple(findings))


def _cost(recorded: RecordedRun, config: AnyConfig, windows: list[Window], seconds: float) -> Finding:
    steps = sum(window.steps for window in windows)
    what = f"{steps:,} of {recorded.trained:,} steps ({100 * steps / recorded.trained:.2g}%), {seconds:.0f} s"
    trained, before = 0.0, 0
    for step, row in sorted(recorded.logged.items()):
        if row.get("train/images_per_second"):
            trained += config.train.batch_size * (step - before) / row["train/images_per_second"]
        before = step
    if trained:
        what += f" compared with {trained:,.0f} s of training ({100 * seconds / trained:.2g}%)"
    return note("cost", what, steps=steps, seconds=seconds, training_seconds=trained)


def _plan(recorded: RecordedRun, config: AnyConfig) -> Plan:
    """The run's own plan, without what is only monitored."""
    record = recorded.first_record
    if isinstance(config, Config):
        return recognition.prepare(_alone(config), record)  # type: ignore[arg-type]
    return classification.prepare(_alone(config), record)  # type: ignore[arg-type]


def _alone(config: AnyConfig) -> AnyConfig:
    """The settings without benchmarks and trackers, which do not affect training."""
    quiet = dataclasses.replace(config, monitor=dataclasses.replace(config.monitor, wandb=False, images=False))
    if isinstance(quiet, Config):
        # Nor does the number of devices that share the frozen blocks: this machine may have another number.
        train = dataclasses.replace(quiet.train, fsdp=here(quiet.train.fsdp))
        return dataclasses.replace(quiet, data=dataclasses.replace(quiet.data, benchmarks={}), train=train)
    return quiet


def _verdict(recorded: RecordedRun, wrong: list[Finding]) -> str:
    if wrong:
        names = ", ".join(dict.fromkeys(finding.check for finding in wrong))
        return f"CHANGED: {plural(len(wrong), 'difference')}: {names}"
    if not recorded.lines:
        return "PROVEN as far as a run without evidence can be: what was replayed is equal"
    return "PROVEN: everything that was kept is unchanged, and what was replayed is equal"
