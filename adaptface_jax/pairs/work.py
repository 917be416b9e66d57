# SPDX-License-Identifier: Apache-2.0
"""What `adaptface pairs` does."""

from __future__ import annotations

import argparse
import csv
import io
import itertools
import os
import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from adaptface_jax.align.geometry import CROP_SIZE
from adaptface_jax.core.errors import InputError
from adaptface_jax.core.files import write_bytes
from adaptface_jax.core.outputs import check_file
from adaptface_jax.core.text import plural, shown
from adaptface_jax.data.benchmarks.drawing import DrawnPair, draw_pairs
from adaptface_jax.data.benchmarks.image_domains import conditions_text
from adaptface_jax.data.decode import decode, to_size
from adaptface_jax.data.domains import ORDINARY
from adaptface_jax.data.readable import Readable
from adaptface_jax.data.record import Images, Keys, Source
from adaptface_jax.data.sources.from_path import open_source
from adaptface_jax.data.sources.selection import Selection
from adaptface_jax.evaluation.cells import cell_members
from adaptface_jax.evaluation.folds import fold_of_each

TRAINING, PACK = ".train.csv", ".bin"


def work(args: argparse.Namespace) -> None:
    """Open the folders and their labels, choose the people, draw, write, report the outcome."""
    if args.pairs < 2 or args.pairs % 2:
        raise InputError(
            f"--pairs: {args.pairs} is not an even number of at least 2; expected as many genuine as impostor pairs"
        )
    if args.labels and not args.domains:
        raise InputError("--labels: unused without --domains; add it, e.g. --domains='pose=left|right; light=dark'")
    out, folder = Path(args.out), Path(args.source)
    if args.holdout is not None:
        check_file(str(out.with_suffix(TRAINING)))
    if args.bin:
        check_file(str(out.with_suffix(PACK)))
    # Images of an unknown condition are in no cell, those in none of the conditions in separate cells.
    terms = [term.strip() for term in args.domains.split(";") if term.strip()]
    domains = "; ".join([*terms, *([ORDINARY] if terms and ORDINARY not in terms else [])])
    source = open_source(args.source, labels=args.labels, domains=domains)
    if not (folder / source.key(0)).is_file():
        raise InputError(f"{source.description}: its images are not separate files; expected identity folders")
    source = listable(source)
    images = Readable(Images(source), Keys(source))
    known, people, pairs = readable_pairs(source, images, domains != "", args)
    files = {out: table(source, pairs, domains != "")}
    if args.holdout is not None:
        files[out.with_suffix(TRAINING)] = training_list(source, people, folder, out)
    if args.bin:
        files[out.with_suffix(PACK)] = pack(source, pairs)
    for file, content in files.items():
        if file.exists() and file.read_bytes() != content:
            raise InputError(f"{shown(str(file))}: exists with other content; choose another --out, or move it")
    for file, content in files.items():
        write_bytes(file, content)
    lines = outcome_lines(source, known, people, pairs, args, domains != "")
    print("\n".join([*lines, *images.lines(), *source.skipped_files.lines()]))


def readable_pairs(
    source: Source, images: Readable, crossed: bool, args: argparse.Namespace
) -> tuple[np.ndarray, np.ndarray, Sequence[DrawnPair]]:
    """The known conditions of each image, the people, and their pairs; redrawn without the images that cannot be read
    (which `images` then records) until all can.
    """
    everywhere = np.ones((len(source), 1), np.uint8)
    known = source.domains.copy() if crossed and source.domains is not None else everywhere
    flag, wanted = ("--people", args.people) if args.holdout is None else ("--holdout", args.holdout)
    asked: set[int] = set()
    while True:
        rng = np.random.default_rng(args.seed)
        people = held_out(source, known, flag, wanted, rng)
        pairs = draw_pairs(source.labels, known, people.tolist(), args.pairs, rng)
        if not pairs:
            raise InputError(f"{source.description}: no pair can be drawn of the {len(people)} people; raise --people")
        drawn = {image for pair in pairs for image in (pair.first, pair.second)}
        for image in drawn - asked:
            images[image]
        asked |= drawn
        if not drawn & images.unreadable.keys():
            return known, people, pairs
        known[list(images.unreadable)] = 0


def is_listable(path: str) -> bool:
    """Whether a list can hold a path."""
    return path.isprintable() and path == path.strip()


def listable(source: Source) -> Source:
    """The images whose names a list can hold; the others are counted as skipped."""
    held = np.array([is_listable(source.key(index)) for index in range(len(source))])
    if held.all():
        return source
    source.skipped_files.images["whose names no list can hold"] += int((~held).sum())
    return Selection(source, np.flatnonzero(held), "those whose names a list can hold")


def held_out(source: Source, membership: np.ndarray, flag: str, wanted: float, rng: np.random.Generator) -> np.ndarray:
    """The people of the pairs, among those with two images of known conditions; int [P].

    wanted: how many, or, below 1, what fraction of all; `flag` names it in errors.
    """
    number = round(wanted * source.num_classes) if 0 < wanted < 1 else wanted
    counts = np.bincount(source.labels[membership.any(axis=1)], minlength=source.num_classes)
    able = np.flatnonzero(counts > 1)
    if number != int(number) or not 2 <= number <= min(len(able), source.num_classes - 2):
        raise InputError(
            f"{flag}: {wanted:g} of {source.num_classes:,} identities, {len(able):,} of which have two images to "
            f"compare; expected a fraction or number that gives 2 to {min(len(able), source.num_classes - 2):,} people"
        )
    return rng.choice(able, int(number), replace=False)


def table(source: Source, pairs: Sequence[DrawnPair], crossed: bool) -> bytes:
    """The rows, as `open_list` reads them."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path1", "path2", "same", "fold", *(["domain1", "domain2"] if crossed else [])])
    for pair in pairs:
        images = (pair.first, pair.second)
        paths = [printable(source, source.key(image)) for image in images]
        conditions = [conditions_text(_conditions(source, image)) for image in images] if crossed else []
        writer.writerow([*paths, int(pair.same), pair.fold, *conditions])
    return text.getvalue().encode("utf-8")


def training_list(source: Source, people: np.ndarray, folder: Path, out: Path) -> bytes:
    """The images of everyone else, as `data.train` reads it: paths relative to the list, and identities."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "label"])
    for index in np.flatnonzero(~np.isin(source.labels, people)).tolist():
        path = os.path.relpath(folder / source.key(index), out.parent)
        writer.writerow([printable(source, path), source.class_names[source.labels[index]]])
    return text.getvalue().encode("utf-8")


def pack(source: Source, pairs: Sequence[DrawnPair]) -> bytes:
    """An InsightFace pack: its tools take 112x112 images only, so others are resized, as PNG."""
    images: dict[int, bytes] = {}
    for index in {image for pair in pairs for image in (pair.first, pair.second)}:
        data = source[index].image
        pixels = decode(data, source.key(index))
        if pixels.shape[:2] != (CROP_SIZE, CROP_SIZE) or not isinstance(data, bytes):
            file = io.BytesIO()
            Image.fromarray(to_size(pixels, CROP_SIZE)).save(file, "PNG")
            data = file.getvalue()
        images[index] = data
    bins = [images[image] for pair in pairs for image in (pair.first, pair.second)]
    return pickle.dumps((bins, [pair.same for pair in pairs]), protocol=4)


def printable(source: Source, path: str) -> str:
    """A path that a list can hold; raises InputError for any other."""
    if not is_listable(path):
        raise InputError(f"{source.description}: {shown(path)!r} cannot be written to a list; rename it")
    return path


def _conditions(source: Source, image: int) -> list[str]:
    held = () if source.domains is None else np.flatnonzero(source.domains[image])
    return [source.domain_names[number] for number in held]


def outcome_lines(
    source: Source,
    membership: np.ndarray,
    people: np.ndarray,
    pairs: Sequence[DrawnPair],
    args: argparse.Namespace,
    crossed: bool,
) -> list[str]:
    """The people, the pairs by condition, and how to continue."""
    images = {image for pair in pairs for image in (pair.first, pair.second)}
    drawn = {int(source.labels[image]) for image in images}
    folds = len({pair.fold for pair in pairs})
    less = "" if len(pairs) == args.pairs else f" of {args.pairs:,} requested: these people have no more"
    lines = [
        f"people    {len(people):,} of {source.num_classes:,} (seed {args.seed}), {len(drawn):,} of them in a pair",
        f"pairs     {len(pairs):,}{less}, half of them genuine, of {plural(len(images), 'image')}, in {folds} folds"
        + (" without shared people" if folds > 1 else ": too few people for several"),
    ]
    if crossed:
        unknown = int((~membership.any(axis=1) & np.isin(source.labels, people)).sum())
        lines += [f"conditions unknown for {plural(unknown, 'image')}: in no pair"] if unknown else []
        lines += [
            f"  {source.domain_names[first]} - {source.domain_names[second]}: {count:,}"
            for (first, second), count in cells(membership, pairs).items()
        ]
    out, folder = Path(args.out), Path(args.source)
    listed = args.out if out.resolve().parent == folder.resolve() else f"{args.source}:{out.resolve()}"
    if args.bin and not _tenths_are_folds(pairs):
        lines.append("folds     a pack's folds are tenths in order, which share people here; try --pairs of 20, 40 ...")
    training, packed = out.with_suffix(TRAINING), out.with_suffix(".bin")
    also = [file for file, made in ((training, args.holdout is not None), (packed, args.bin)) if made]
    train = f"train={shown(str(training))}" if args.holdout is not None else f"exclude={shown(listed)}"
    return [
        *lines,
        f"written: {', '.join(shown(str(file)) for file in (out, *also))}",
        f"continue with: --config.data.{train} --benchmark held={shown(str(packed)) if args.bin else shown(listed)}",
    ]


def _tenths_are_folds(pairs: Sequence[DrawnPair]) -> bool:
    issame = np.array([pair.same for pair in pairs])
    return len(pairs) > 2 and np.array_equal(fold_of_each(None, issame), [pair.fold for pair in pairs])


def cells(membership: np.ndarray, pairs: Sequence[DrawnPair]) -> dict[tuple[int, int], int]:
    """How many pairs there are for every two conditions; a pair counts in each cell that its images belong to."""
    index = np.array([(pair.first, pair.second) for pair in pairs]).ravel()
    every = itertools.combinations_with_replacement(range(membership.shape[1]), 2)
    counts = {(row, column): int(members.sum()) for row, column, members in cell_members(index, membership)}
    return dict.fromkeys(every, 0) | counts
