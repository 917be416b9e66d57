"""Whether the files of a run are unchanged: its settings, every line of its metrics, its results, its evidence."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from adaptface_jax.checks.finding import Finding, fault, note, ok
from adaptface_jax.checks.replay.recorded_run import RecordedRun
from adaptface_jax.core import trees
from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import plural, shortened
from adaptface_jax.training.checkpoint import CHECKPOINTS, Checkpoints
from adaptface_jax.training.evidence import EVIDENCE, combined_digest, file_digest, rows_digests
from adaptface_jax.training.monitor import METRICS_FILE
from adaptface_jax.training.run import RUN_FILE, read_record

_SHOWN = 4  # differences at most

RESTORE = "restore it from a copy of the run's folder, or train again"


def kept(recorded: RecordedRun) -> Iterator[Finding]:
    """The findings, in the order in which they can be trusted."""
    yield from evidence(recorded)
    yield from settings(recorded)
    if recorded.lines:
        yield from metrics(recorded)
        yield from files(recorded)


def evidence(recorded: RecordedRun) -> Iterator[Finding]:
    """The hash chain over the lines of the evidence itself."""
    for number, reason in recorded.broken[:_SHOWN]:
        yield fault("evidence", f"{EVIDENCE}: line {number} {reason}", RESTORE)
    if recorded.broken:
        return
    if recorded.lines:
        yield ok(
            "evidence", f"{plural(len(recorded.lines), 'line')}, {plural(len(recorded.sessions), 'session')}, unbroken"
        )
    elif "keep_every" in recorded.record["config"].get("checkpoint", {}):
        yield fault("evidence", f"{EVIDENCE} is missing, or empty", RESTORE)
    else:
        yield note(
            "evidence",
            f"none: the run is from a version that wrote no {EVIDENCE}",
            "single images, lines of metrics, settings and results cannot be verified; losses and checkpoints can",
        )


def settings(recorded: RecordedRun) -> Iterator[Finding]:
    """run.json, and its copies with the checkpoints, against what the sessions had."""
    records = [dict(session.record) for session in recorded.sessions]
    places = {RUN_FILE: recorded.record}
    for folder in sorted((recorded.workdir / CHECKPOINTS).glob("[0-9]*")):
        name = folder.relative_to(recorded.workdir).as_posix()
        try:
            copy = read_record(folder)
        except InputError as error:
            yield fault("settings", str(error), RESTORE)
            continue
        if copy is not None:
            places[f"{name}/{RUN_FILE}"] = copy
    good = True
    for name, found in places.items():
        known = (records[-1:] if name == RUN_FILE else records) or [recorded.record]
        if found in known:
            continue
        good = False
        changes = [
            f"{setting} was {before!r} in training, is {now!r}"
            for setting, before, now in trees.difference(known[-1], found)
        ]
        yield fault("settings", f"{name}: {_listed(changes)}", RESTORE)
    if good:
        yield ok("settings", f"{RUN_FILE} is as in training" if records else "as in the checkpoints")


def metrics(recorded: RecordedRun) -> Iterator[Finding]:
    """Every line of metrics.jsonl."""
    for remark in recorded.remarks:
        yield fault("metrics", remark, RESTORE)
    if recorded.remarks:
        return
    written, wholes = _written(recorded)
    found = rows_digests(recorded.rows)
    steps = [row["step"] for row in recorded.rows]
    wrong = [i for i, (is_now, was) in enumerate(zip(found, written, strict=False)) if was not in (None, is_now)]
    unknown = [count for count, digest in wholes if count <= len(found) and combined_digest(found[:count]) != digest]
    if len(found) < len(written):
        where = f"from step {steps[wrong[0]]:,} on" if wrong else "the last ones"
        yield fault(
            "metrics", f"{plural(len(written) - len(found), 'row')} of {METRICS_FILE} missing, {where}", RESTORE
        )
    elif len(found) > len(written) and (wrong or recorded.ended):
        where = f"step {steps[wrong[0] if wrong else len(written)]:,}"
        yield fault(
            "metrics", f"{len(found) - len(written)} more in {METRICS_FILE} than were written: {where}", RESTORE
        )
    elif wrong or unknown:
        rows = [f"step {steps[i]:,} ({_about(recorded.rows[i])})" for i in wrong] or [f"a step up to {steps[-1]:,}"]
        yield fault("metrics", f"{METRICS_FILE}: changed since it was written: {_listed(rows)}", RESTORE)
    else:
        yield ok("metrics", f"{plural(min(len(found), len(written)), 'row')} unchanged")
        if len(found) > len(written):
            extra = plural(len(found) - len(written), "row")
            yield note("metrics", f"{extra} after the last line of evidence: the run was killed, or is still running")


def _written(recorded: RecordedRun) -> tuple[list[str | None], list[tuple[int, str]]]:
    """The digests of the rows, None if a kill lost one, and number and digest of those that each session found."""
    written: list[str | None] = []
    wholes = []
    for line in recorded.lines:
        if "kept" in line:
            count, digest = line["kept"]
            del written[count:]
            written += [None] * (count - len(written))
            wholes.append((count, digest))
        written += line.get("rows", [])
    return written, wholes


def _about(row: Any) -> str:
    return ", ".join(dict.fromkeys(tag.partition("/")[0] for tag in row if tag != "step"))


def files(recorded: RecordedRun) -> Iterator[Finding]:
    """The outputs of the run: results, scores, baselines."""
    wrong = []
    for name, digest in recorded.files.items():
        path = recorded.workdir / name
        try:
            if file_digest(path) != digest:
                wrong.append(f"{name} has changed since it was written")
        except OSError:
            wrong.append(f"{name} is missing, or cannot be read")
    for what in wrong:
        yield fault("results", what, RESTORE)
    if not recorded.ended:
        yield note("results", "not verified: the run has not ended")
    elif not wrong:
        yield ok("results", f"{plural(len(recorded.files), 'file')} unchanged")


def checkpoint_steps(recorded: RecordedRun) -> tuple[list[int], list[Finding]]:
    """The steps whose checkpoints are intact by their manifests, and what is wrong with the others."""
    intact, findings = [], []
    with Checkpoints(recorded.workdir / CHECKPOINTS, read_only=True) as checkpoints:
        for step in checkpoints.complete():
            try:
                checkpoints.choose(str(step))
                intact.append(step)
            except InputError as error:
                findings.append(fault("checkpoint", str(error).removeprefix("--checkpoint: "), RESTORE))
    return intact, findings


def _listed(texts: list[str]) -> str:
    more = f" and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
    return "; ".join(shortened(text, 160) for text in texts[:_SHOWN]) + more
