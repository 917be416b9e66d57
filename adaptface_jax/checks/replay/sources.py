"""Whether the inputs of a run are unchanged: its backbone, and every record that it read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from adaptface_jax.checks.finding import Finding, fault, note, ok
from adaptface_jax.checks.replay.recorded_run import RecordedRun
from adaptface_jax.core import trees
from adaptface_jax.core.errors import InputError
from adaptface_jax.core.processors import cores
from adaptface_jax.core.text import plural, shown
from adaptface_jax.data.record import Source
from adaptface_jax.data.witness import RECORDS, image_digest, label_digest, read_rows
from adaptface_jax.training.evidence import file_digest
from adaptface_jax.training.plan import Plan

_SHOWN = 3

# What may change in a record: paths.
PLACE = "source"

# Differences that change which records a step has: nothing is then recomputed.
ORDER = ("images", "keys_sha256")


def sources(recorded: RecordedRun, plan: Plan) -> Iterator[Finding]:
    """plan: the run's own, built again."""
    yield from backbone(recorded.first_record, plan.record)
    yield from data(recorded, plan)


def backbone(was: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Finding]:
    """The backbone's weights, and those that the adapter was initialized from."""
    for section in ("backbone", "start", "statistics"):
        if section not in was and section not in now:
            continue
        changes = [
            f"{name} was {before!r}, is {after!r}"
            for name, before, after in trees.difference(was.get(section), now.get(section))
            if name != PLACE
        ]
        if changes:
            yield fault(section, "; ".join(changes[:_SHOWN]), "restore the files that the run was trained with")
        elif section != "statistics":
            yield ok(section, f"{was[section].get('source', '')} is as in training".strip())


def changed(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs in the description of a training set."""
    return [name for name, _, _ in trees.difference(was["data"], now["data"]) if name != PLACE]


def data(recorded: RecordedRun, plan: Plan) -> Iterator[Finding]:
    """The training set as a whole, then every record that was read."""
    was, now = recorded.first_record, plan.record
    names = changed(was, now)
    for name in names:
        if name == "images":
            yield fault("data", f"{was['data'][name]:,} images in training, {now['data'][name]:,} now", _RESTORE)
    others = [_NAMES.get(name, name) for name in names if name != "images"]
    if others:
        yield fault("data", f"different from training: {', '.join(others)}", _RESTORE)
    rows = read_rows(recorded.workdir / RECORDS)
    sealed = recorded.files.get(RECORDS)
    if rows is None or not len(rows) or (sealed is not None and file_digest(recorded.workdir / RECORDS) != sealed):
        yield note(
            "records", "single images and labels are not verified: what the run recorded of them is missing or changed"
        )
        return
    wrong = list(_wrong(plan.source, rows, stop_at_first=any(name in names for name in ORDER)))
    for what in wrong[:_SHOWN]:
        yield fault("records", what, _RESTORE)
    if len(wrong) > _SHOWN:
        yield fault("records", f"{len(wrong) - _SHOWN} more", _RESTORE)
    read = int(np.count_nonzero(rows["image"]))
    if not wrong and not names:
        yield ok("records", f"{read:,} of {plural(len(rows), 'record')} were read, and are unchanged")


_RESTORE = "restore the data that the run was trained with"
_NAMES = {
    "keys_sha256": "records or their order",
    "labels_sha256": "labels",
    "class_names_sha256": "class names",
    "domains_sha256": "domains",
}


def _wrong(source: Source, rows: np.ndarray, stop_at_first: bool) -> Iterator[str]:
    """The records whose content has changed, in words."""

    def look(number: int) -> str:
        try:
            record = source[number]
        except InputError as error:
            return f"record {number:,} can no longer be read: {error}"
        parts = []
        if image_digest(record) != rows["image"][number]:
            parts.append("image")
        if label_digest(source, number) != rows["label"][number]:
            parts.append("label")
        return f"record {number:,} ({shown(record.key)}): {' and '.join(parts)} changed since training" if parts else ""

    seen = np.flatnonzero(rows["image"]).tolist()
    with ThreadPoolExecutor(cores()) as threads:
        for what in threads.map(look, [number for number in seen if number < len(source)]):
            if what:
                yield what
                if stop_at_first:
                    return
