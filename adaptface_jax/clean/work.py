# SPDX-License-Identifier: Apache-2.0
"""What `adaptface clean` does."""

from __future__ import annotations

import argparse
import csv
import dataclasses
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from adaptface_jax.api.open_model import open_from_flags
from adaptface_jax.cli.parser import named_paths
from adaptface_jax.core.errors import InputError
from adaptface_jax.core.files import write_bytes
from adaptface_jax.core.text import plural, shortened, shown
from adaptface_jax.data.benchmarks.from_path import open_benchmark
from adaptface_jax.data.joined import Joined
from adaptface_jax.data.readable import Readable
from adaptface_jax.data.record import Images, Keys
from adaptface_jax.data.sources.from_path import open_source
from adaptface_jax.evaluation.distances import unit_embeddings
from adaptface_jax.evaluation.evaluator import image_names
from adaptface_jax.evaluation.picture_sheet import Row, check_sheet, encoded_sheet
from adaptface_jax.evaluation.statistics.people import people_of
from adaptface_jax.evaluation.suspects import (
    OUTLIER,
    SHARED,
    TWINS,
    People,
    Suspect,
    outliers,
    shared,
    twin_threshold,
    twins,
)

MOST = 200  # rows in a sheet
UNREADABLE = "unreadable"  # the kind of a row without another image


def work(args: argparse.Namespace) -> None:
    """Open the dataset and the model, embed, find suspects, write, report the outcome."""
    if args.threshold is not None and not -1 <= args.threshold <= 1:
        raise InputError(f"--threshold: {args.threshold:g} is not a cosine; expected -1 to 1")
    check_sheet(args.sheet)
    source = open_source(args.source)
    benchmarks = {name: open_benchmark(path) for name, path in named_paths(args.benchmark).items()}
    sets = [Images(source), *(benchmark.images for benchmark in benchmarks.values())]
    keys = [Keys(source), *(image_names(name, benchmark) for name, benchmark in benchmarks.items())]
    names = Joined(keys)
    images = Readable(Joined(sets), names)
    opened = open_from_flags(args, images.given)
    model = opened.model
    found = opened.embedder(model.frozen, model.trainable, images, not args.no_flip, names)
    images.check_some()
    units = unit_embeddings(found.embedding, found.flipped).astype(np.float32)
    own = np.flatnonzero(images.read(0, len(source)))
    people = people_in(units[own], source.labels[own])
    threshold = twin_threshold(people, np.random.default_rng(0)) if args.threshold is None else args.threshold
    suspects = [numbered(one, own, own) for one in (*twins(people, threshold), *outliers(people))]
    start = len(source)
    for benchmark in benchmarks.values():
        person = people_of(benchmark.index, benchmark.issame, benchmark.person)
        read = np.flatnonzero(images.read(start, start + len(benchmark.images)))
        both = shared(people, people_in(units[start + read], person[read]), threshold)
        suspects += [numbered(one, own, start + read) for one in both]
        start += len(benchmark.images)
    suspects.sort(key=lambda one: one.similarity - (one.own or 0), reverse=True)
    suspects.sort(key=lambda one: (SHARED, TWINS, OUTLIER).index(one.kind))
    unreadable = [names[number] for number in sorted(images.unreadable)]
    write_bytes(args.out, table(suspects, names, unreadable))
    if args.sheet:
        write_bytes(args.sheet, sheet(suspects[:MOST], images, names, Path(args.sheet).suffix))
    lines = outcome_lines(source.description, suspects, threshold, args)
    for line in (*lines, *images.lines(), *source.skipped_files.lines()):
        print(line)


def people_in(units: np.ndarray, person: np.ndarray) -> People:
    """The people in some images: unit embeddings [N, E], and the person of each, any integers, int [N]."""
    names, label = np.unique(person, return_inverse=True)
    return People.of(units, label, len(names))


def numbered(one: Suspect, images: np.ndarray, others: np.ndarray) -> Suspect:
    """A suspect with its images' numbers among all images."""
    return dataclasses.replace(one, image=int(images[one.image]), other=int(others[one.other]))


def outcome_lines(
    description: str, suspects: Sequence[Suspect], threshold: float, args: argparse.Namespace
) -> list[str]:
    """How many of each kind, and by what threshold."""
    counts = {kind: sum(one.kind == kind for one in suspects) for kind in (SHARED, TWINS, OUTLIER)}
    how = "given" if args.threshold is not None else "exceeded by the two halves of 95% of the people"
    lines = [
        f"{description}: nothing was changed",
        f"twins     {plural(counts[TWINS], 'pair')} of people at a similarity of {threshold:.3f} or more ({how})",
        f"outliers  {plural(counts[OUTLIER], 'image')} closer to someone else than to their own person",
    ]
    if args.benchmark:
        lines.append(f"shared    {plural(counts[SHARED], 'person')} in the benchmarks as similar to one in the dataset")
    lines.append(f"written: {shown(args.out)}" + (f", {shown(args.sheet)}" if args.sheet else ""))
    if args.sheet and len(suspects) > MOST:
        lines.append(f"the sheet shows the first {MOST} of {len(suspects):,}")
    return lines


def table(suspects: Sequence[Suspect], names: Sequence[str], unreadable: Sequence[str]) -> bytes:
    """One row per suspect, the most likely of each kind first, then one per image that cannot be read."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["kind", "image", "other", "similarity", "own"])
    for one in suspects:
        own = "" if one.own is None else f"{one.own:.4f}"
        writer.writerow([one.kind, names[one.image], names[one.other], f"{one.similarity:.4f}", own])
    writer.writerows([UNREADABLE, name, "", "", ""] for name in unreadable)
    return text.getvalue().encode("utf-8", "surrogateescape")


def sheet(
    suspects: Sequence[Suspect], images: Sequence[bytes | np.ndarray], names: Sequence[str], suffix: str
) -> bytes:
    """An image with one row per suspect: its two images and their names."""
    rows = []
    for one in suspects:
        own = "" if one.own is None else f", own {one.own:.2f}"
        said = [f"{one.kind} {one.similarity:.2f}{own}", *(shortened(names[n], 60) for n in (one.image, one.other))]
        rows.append(Row([images[number] for number in (one.image, one.other)], "\n".join(said)))
    return encoded_sheet(rows, 2, suffix)
