"""The work of `adaptface report`."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from adaptface_jax.checks.run.records import AnyRun, ClassificationRun, FaceRun, read_run
from adaptface_jax.core.errors import InputError
from adaptface_jax.core.files import write_text
from adaptface_jax.core.outputs import check_inside
from adaptface_jax.core.text import shortened, shown
from adaptface_jax.report.classification.comparison import classification_comparison
from adaptface_jax.report.comparison import comparison_page
from adaptface_jax.report.run_page import run_page
from adaptface_jax.report.side_by_side import FILE


def work(args: argparse.Namespace) -> None:
    """Read every run, build every page, then write them."""
    out = Path(args.out)
    named = names([Path(run) for run in args.runs])
    check_inside(out, [FILE, *(f"{name}.html" for name in named)])
    found = {name: read_run(workdir, "") for name, workdir in named.items()}
    pages = {f"{name}.html": run_page(run, FILE) for name, run in found.items()}
    pages[FILE] = side_by_side(found, {name: quote(f"{name}.html") for name in found})
    for name, text in pages.items():
        write_text(out / name, text)
    print(f"written: {out / FILE}, and a page for each of {len(found)} run{'s' if len(found) != 1 else ''}")


def side_by_side(found: Mapping[str, AnyRun], links: Mapping[str, str]) -> str:
    """The page that compares all of them; raises InputError if they are of different kinds."""
    faces = {name: run for name, run in found.items() if isinstance(run, FaceRun)}
    classifiers = {name: run for name, run in found.items() if isinstance(run, ClassificationRun)}
    if faces and classifiers:
        one, other = next(iter(faces.values())).workdir, next(iter(classifiers.values())).workdir
        raise InputError(
            f"{shown(str(one))} is a face run and {shown(str(other))} a classification run; name runs of one kind"
        )
    return comparison_page(faces, links) if faces else classification_comparison(classifiers, links)


def names(workdirs: Sequence[Path]) -> dict[str, Path]:
    """A name for each run: its folder's, with as many parent folders as make it unique, and a number if that is not
    enough (a/b, c/b and a-b).

    Raises InputError if a folder is given twice.
    """
    whole = [workdir.resolve() for workdir in workdirs]
    for i, path in enumerate(whole):
        if path in whole[:i]:
            raise InputError(f"{workdirs[i]}: is given twice; name each run once")
    result = {}
    for workdir, path in zip(workdirs, whole, strict=True):
        parts = path.parts[1:]
        depth = next(
            (n for n in range(1, len(parts)) if sum(other.parts[-n:] == parts[-n:] for other in whole) == 1), len(parts)
        )
        name = shortened(shown("-".join(parts[-depth:])).replace("/", "-").replace("\\", "-"), 60)
        # A run must not replace the page that compares all of them.
        name = f"{name}-run" if name == Path(FILE).stem else name
        free = itertools.chain((name,), (f"{name}-{number}" for number in itertools.count(2)))
        result[next(one for one in free if one not in result)] = workdir
    return result
