# SPDX-License-Identifier: Apache-2.0
"""What `adaptface identify` does."""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

from adaptface_jax.api.face_model import FaceModel
from adaptface_jax.api.hit_lists import Search, Searched, check_list, write_hit_sheet, write_list
from adaptface_jax.api.index import Index
from adaptface_jax.api.index_files import check_place, flags_of
from adaptface_jax.api.open_model import open_from_flags
from adaptface_jax.api.photographs import Photograph, read_ahead
from adaptface_jax.api.rule import choose_rule, if_known
from adaptface_jax.core.errors import InputError, RunError
from adaptface_jax.core.outputs import check_folder
from adaptface_jax.core.progress import Progress
from adaptface_jax.core.text import plural, shown
from adaptface_jax.data.image_files import ImageFiles
from adaptface_jax.data.skipped_files import SkippedFiles
from adaptface_jax.evaluation.picture_sheet import check_sheet
from adaptface_jax.training.run import RESULTS


def work(args: argparse.Namespace) -> None:
    """Open the model and the index, search every photograph, print and write who was found."""
    check(args)
    paths, skipped = listed(args.photographs)
    if not args.people and not (args.run or args.backbone):
        for name, value in flags_of(Path(args.index)).items():
            setattr(args, name, value)
    results = Path(args.results) if args.results else Path(args.run) / RESULTS if args.run else None
    asked = (args.far, args.benchmark, args.threshold, args.results) != (None, None, None, None)
    rule, why = if_known(lambda: choose_rule(results, args.far, args.benchmark, args.threshold), asked)
    model = open_from_flags(args)
    rule = rule and model.applied(rule)
    index = made(model, args) if args.people else model.load_index(args.index)
    if not paths:
        return
    found: list[Searched] = []
    with Progress(len(paths), label="searched", unit="image") as progress:
        for part in searched(model, index, paths, args, None if rule is None else rule.threshold.value):
            found += part
            progress.show(len(found), {})
    search = Search(found, rule, why, len(index), None if results is None else str(results))
    if not args.output:
        print("\n".join(map(str, found)))
    print("\n".join([*search.lines(), *skipped.lines()]))
    if args.output:
        write_list(Path(args.output), search, model.facts)
        print(f"written: {shown(args.output)}")
    if args.sheet:
        print(write_hit_sheet(Path(args.sheet), search, lambda place: [model.photograph(paths[place]).image], 1))
    if failed := sum(bool(one.problem) for one in found):
        raise RunError(f"{failed:,} of {plural(len(found), 'image')} could not be searched; the list says why")


def check(args: argparse.Namespace) -> None:
    """Raise InputError for flags that ask for nothing, or are incomplete."""
    named = bool(args.run or args.backbone)
    if args.people and not named:
        raise InputError("--people: needs a model to index them; give --run or --backbone")
    parts = (args.image_size, args.stored_size, args.checkpoint, args.feature)
    if not named and parts != (None, None, "best", "cls"):
        raise InputError("--index: its model is opened as it was; to change that, also give --run or --backbone")
    if args.people and args.index:
        check_folder(args.index)
        if os.path.exists(args.index) and not args.overwrite:
            raise InputError(f"--index: {shown(args.index)} exists; omit --people to search it, or add --overwrite")
        check_place(Path(args.index), overwrite=True)
    if not args.photographs and not (args.people and args.index):
        raise InputError("nothing to search; name photographs or folders of them")
    if not args.photographs and (args.output or args.sheet):
        raise InputError("--output, --sheet: need photographs, and none is named")
    if args.top < 1:
        raise InputError(f"--top: {args.top} is out of range; expected at least 1")
    check_list(args.output, "--output")
    check_sheet(args.sheet)


def listed(photographs: Sequence[str]) -> tuple[list[str], SkippedFiles]:
    """Every image named, those in folders at any depth, each once; and the other files found in folders."""
    paths: list[str] = []
    skipped = SkippedFiles()
    for photograph in photographs:
        if os.path.isdir(photograph):
            files = ImageFiles(Path(photograph))
            paths += files.paths
            skipped.images.update(files.skipped_files.images)
            skipped.others.update(files.skipped_files.others)
        elif os.path.exists(photograph):
            paths.append(photograph)
        else:
            raise InputError(f"{shown(photograph)}: no such file or folder; expected photographs")
    return list(dict.fromkeys(paths)), skipped


def made(model: FaceModel, args: argparse.Namespace) -> Index:
    """The index of a folder of people, stored where --index says."""
    index = model.index()
    with warnings.catch_warnings(record=True) as remarks, contextlib.ExitStack() as stack:
        warnings.simplefilter("always")

        @functools.cache
        def progress(total: int) -> Progress:
            return stack.enter_context(Progress(total, label="indexed", unit="image"))

        index.add_folder(args.people, lambda done, total: progress(total).show(done, {}))
    for remark in remarks:
        print(f"--people: {remark.message}")
    if args.index:
        index.save(args.index, overwrite=args.overwrite)
        print(f"written: {shown(args.index)}, an index of {plural(len(index), 'person')}")
    return index


def searched(
    model: FaceModel, index: Index, paths: Sequence[str], args: argparse.Namespace, threshold: float | None
) -> Iterator[list[Searched]]:
    """The outcome for the photographs, some at a time, in order: read by threads, searched in one pass."""

    for part in read_ahead(model.photograph, paths, args.batch_size):
        crops = [one.image for _, one in part if isinstance(one, Photograph)]
        rows = iter(index.search(crops, top=args.top, threshold=threshold).hits if crops else ())
        yield [
            Searched(path, problem=str(one).removeprefix(f"{shown(path)}: "))
            if isinstance(one, InputError)
            else Searched(path, next(rows))
            for path, one in part
        ]
