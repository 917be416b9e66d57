"""What `adaptface calibrate` does."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from adaptface_jax.api.open_model import open_from_flags
from adaptface_jax.api.photographs import Photograph, read_ahead
from adaptface_jax.api.rule import kept_scores
from adaptface_jax.api.site_file import SiteFile, write_site_file
from adaptface_jax.api.site_name import SITE
from adaptface_jax.core.errors import InputError
from adaptface_jax.core.outputs import check_file
from adaptface_jax.core.progress import Progress
from adaptface_jax.core.text import plural, shown
from adaptface_jax.data.image_files import ImageFiles
from adaptface_jax.evaluation.results import read_results
from adaptface_jax.evaluation.risk import counted, passing
from adaptface_jax.evaluation.site_thresholds import SiteThresholds, check_enough, site_thresholds
from adaptface_jax.training.run import RESULTS

MOST = 3000  # photographs: their 4.5 million pairs take about 2 GB
SHOWN = 5  # problems that are listed one by one


def work(args: argparse.Namespace) -> None:
    """List the photographs, open the model, embed, find the thresholds, print and store them."""
    if not (args.out or args.run):
        raise InputError("--out: a backbone has no folder to store thresholds in; name a file")
    out = Path(args.out) if args.out else Path(args.run) / SITE
    check_file(str(out))
    files = ImageFiles(Path(args.pile))
    with of_pile(args.pile):
        check_enough(len(files))
    paths = chosen(files.paths)
    if len(paths) < len(files.paths):
        print(f"{len(paths):,} of {len(files.paths):,} photographs are used, drawn at random")
    model = open_from_flags(args, files)
    rows, problems = [], []
    with Progress(len(paths), label="embedded", unit="image") as progress:
        for part in read_ahead(model.photograph, paths, args.batch_size):
            crops = [one.image for _, one in part if isinstance(one, Photograph)]
            problems += [str(one) for _, one in part if isinstance(one, InputError)]
            rows.append(model.embed(crops).embeddings)
            progress.show(sum(map(len, rows)) + len(problems), {})
    for line in [*problem_lines(problems), *files.skipped_files.lines()]:
        print(line)
    with of_pile(args.pile):
        site = site_thresholds(np.concatenate(rows), genuine_distances(args.run))
        print("\n".join(threshold_lines(site)))
        if not site.at_far:
            least = min(site.needed.values())
            raise InputError(f"{site.photographs:,} photographs are too few for any threshold; give about {least:,}")
    write_site_file(out, SiteFile(site, Path(os.path.abspath(args.pile)).name, model.fingerprint, model.facts))
    print(f"written: {shown(str(out))}")


@contextlib.contextmanager
def of_pile(pile: str) -> Iterator[None]:
    """An InputError raised in the block begins with the folder."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{shown(pile)}: {error}") from None


def chosen(paths: Sequence[str]) -> list[str]:
    """At most MOST of the paths, the same ones each time."""
    if len(paths) <= MOST:
        return list(paths)
    return [paths[place] for place in np.sort(np.random.default_rng(0).permutation(len(paths))[:MOST])]


def genuine_distances(run: str | None) -> np.ndarray | None:
    """Those of the first benchmark whose pair scores the run kept; None if it kept none."""
    results = Path(run or "") / RESULTS
    if run is None or not results.exists():
        return None
    kept = (kept_scores(results, name) for name in read_results(results).benchmarks)
    return next((scores.distance[scores.issame] for scores in kept if scores is not None), None)


def problem_lines(problems: Sequence[str]) -> list[str]:
    """Photographs that were skipped, and why."""
    lines = [f"skipped: {problem}" for problem in problems[:SHOWN]]
    return lines + [f"skipped: {len(problems) - SHOWN:,} more photographs"] * (len(problems) > SHOWN)


def threshold_lines(site: SiteThresholds) -> list[str]:
    """The thresholds as lines of text."""
    if site.doubles_at_most is None:
        most = "no benchmark of the run shows how many more there may be"
    else:
        most = f"all doubles together are at most {100 * site.doubles_at_most:.2g}%"
    lines = [
        f"{plural(site.photographs, 'photograph')}, {plural(site.pairs, 'pair')}",
        f"doubles (pairs of one person): {100 * site.doubles:.2g}% left out, {most}",
        "any that remain make a threshold stricter than asked for, not looser; intervals are 95%",
    ]
    for name in sorted({*site.at_far, *site.needed}, key=float, reverse=True):
        if (found := site.at_far.get(name)) is not None:
            low, high = found.interval
            risk = passing(float(name), found.far_interval)
            lines.append(f"FAR {name}: threshold {found.value:.4f} ({low:.4f} to {high:.4f}), {risk}")
        else:
            lines.append(f"FAR {name}: unknown; it takes about {counted(site.needed[name])} photographs")
    return lines
