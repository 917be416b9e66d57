# SPDX-License-Identifier: Apache-2.0
"""What `adaptface annotate` does."""

from __future__ import annotations

import argparse
import collections
import dataclasses
from pathlib import Path

from adaptface_jax.annotate.conditions import WORDS, Thresholds
from adaptface_jax.annotate.table import Annotated, annotate, journal_of, label_table, open_journal, write_table
from adaptface_jax.core.errors import InputError
from adaptface_jax.core.files import disk_may_fill, locked
from adaptface_jax.core.outputs import check_inside
from adaptface_jax.core.progress import Progress
from adaptface_jax.core.text import plural, shown
from adaptface_jax.data.labels import LabelTable
from adaptface_jax.data.sources.loose_images import open_images
from adaptface_jax.training.stopping import StopSignals


def work(args: argparse.Namespace) -> None:
    """Open the dataset, measure, write the table, report the outcome."""
    out = Path(args.out)
    limits = Thresholds(**{field.name: getattr(args, field.name) for field in dataclasses.fields(Thresholds)})
    if args.processes < 1:
        raise InputError(f"--processes: {args.processes} is out of range; expected at least 1")
    if out.suffix != ".csv":
        raise InputError(f"--out: {shown(args.out)} does not end in .csv; expected a table, e.g. labels.csv")
    check_inside(out.parent, (journal_of(out).name,))
    source = open_images(args.source)
    busy = f"--out: another process is writing to {shown(str(out.parent))}; wait for it, or choose another folder"
    with StopSignals() as stop, stop.at_once(), disk_may_fill(out.parent), locked(out.parent, busy):
        journal = open_journal(out, args.source)
        print(f"annotating {source.description}: {plural(len(source), 'image')}, --processes={args.processes}")
        print("\n".join(threshold_lines(limits)), flush=True)
        with Progress(len(source), label="annotating", unit="image") as progress:

            def show(done: int, found: Annotated) -> None:
                without = sum(not measures.faces for measures in found.measures.values())
                progress.show(done, {"no face": str(without)})

            found = annotate(args.source, source, journal, args.processes, show)
        table = label_table(source, found, limits, args.out)
        write_table(out, source, table, journal)
    print("\n".join([*outcome_lines(out, table, found), *source.skipped_files.lines()]))


def threshold_lines(limits: Thresholds) -> list[str]:
    """A line for each threshold."""
    return [
        f"  {f'--{field.name}={getattr(limits, field.name):g}':16} {field.metadata['doc']}"
        for field in dataclasses.fields(limits)
    ]


def outcome_lines(out: Path, table: LabelTable, found: Annotated) -> list[str]:
    """How many images, each condition's count, and the images that have none."""
    journal = journal_of(out).name
    kept = f" ({found.kept:,} measured before)" if found.kept else ""
    lines = [f"written: {shown(str(out))}, {plural(len(table), 'image')}{kept}"]
    for name, words in WORDS.items():
        counts = collections.Counter(table.columns[name].values[code] for code in table.columns[name].codes.tolist())
        lines.append(f"  {name:10}" + ", ".join(f"{word} {counts[word]:,}" for word in words))
    faces = [measures.faces for measures in found.measures.values()]
    if without := faces.count(0):
        lines.append(f"no face in {without:,}: no pose; light and sharpness are of the whole image")
    if several := sum(number > 1 for number in faces):
        lines.append(f"several faces in {several:,}: the largest was measured")
    if found.unreadable:
        lines.append(
            f"unreadable {len(found.unreadable):,}, without labels, "
            f"the first: {next(iter(found.unreadable.values()))}; see {journal}"
        )
    return lines
