"""A verification benchmark: images with content, pairs that can be evaluated."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from adaptface_jax.checks.finding import Finding, fault, note, ok, share, warning
from adaptface_jax.checks.setup.scan import BLANK, Scan
from adaptface_jax.core.errors import InputError
from adaptface_jax.data.benchmarks.benchmark import Benchmark
from adaptface_jax.evaluation.folds import fold_of_each, folds_line

# Thumbnails of a copy saved as JPEG of quality 50 correlate at 0.9995; those of two photographs of one person, in the
# same pose and light, at 0.97 at most.
COPY = 0.99
_CHUNK = 4096


def identical_images(scan: Scan) -> np.ndarray:
    """int64 [M]: images with the same number have the same pixels; unreadable ones have numbers of their own."""
    group = np.unique(scan.pixels, return_inverse=True)[1].astype(np.int64)
    group[~scan.good] = np.arange(len(group))[~scan.good] + len(group)
    return np.unique(group, return_inverse=True)[1]


def contents(scan: Scan) -> Finding:
    """Whether images are blank, or all the same."""
    blank, seen = len(scan.blank), int(scan.good.sum())
    if seen > 1 and len(np.unique(scan.pixels[scan.good])) == 1:
        return fault("images", f"all {seen:,} images are identical", "the pack was built wrongly: build it again")
    if blank:
        says = fault if blank > 0.01 * seen else warning
        return says(
            "blank images",
            f"{share(blank, seen)} are black or of one color, e.g. image {scan.blank[0]}",
            "their pairs measure nothing: build the pack again",
            numbers=scan.blank[:100],
        )
    return ok("images", f"{seen:,}, none blank")


def kinds(benchmark: Benchmark) -> Finding:
    """How many pairs of each kind, overall and in each fold."""
    issame, pairs = np.asarray(benchmark.issame, bool), len(benchmark.issame)
    genuine = int(issame.sum())
    what = f"{pairs:,}: {genuine:,} genuine, {pairs - genuine:,} impostor"
    numbers: dict[str, Any] = {"pairs": pairs, "genuine": genuine}
    if genuine in (0, pairs):
        return fault(
            "pairs",
            f"all {pairs:,} are {'genuine' if genuine else 'impostor'}",
            "accuracy needs both kinds: the truth values were lost; build the pack again",
            **numbers,
        )
    try:
        fold = fold_of_each(benchmark.fold, issame)
    except InputError as error:
        return fault("pairs", f"{what}: {error}", "the protocol needs more pairs", **numbers)
    held = np.bincount(fold, issame) / np.bincount(fold)
    if said := folds_line(benchmark.fold, issame):
        says = note if benchmark.fold is None else warning
        return says(
            "pairs", f"{what}; {said}", "sorted by kind? Interleave the list, or give it a fold column", **numbers
        )
    if not 0.2 <= genuine / pairs <= 0.8:
        return warning("pairs", f"{what}: unbalanced", "accuracy is misleading here; use AUC and TAR@FAR", **numbers)
    if pairs < 100:
        return note("pairs", f"{what}: one pair is {100 / pairs:.1f} points of accuracy", **numbers)
    return ok("pairs", f"{what}, {100 * held.min():.0f} to {100 * held.max():.0f}% genuine in each fold", **numbers)


def repeated(benchmark: Benchmark, same: np.ndarray) -> list[Finding]:
    """Pairs of an image with itself, and repeated pairs; `same` as from `identical_images`."""
    pair = np.sort(same[np.asarray(benchmark.index)].reshape(-1, 2), axis=1)
    issame, total = np.asarray(benchmark.issame, bool), len(pair)
    findings = []
    itself = pair[:, 0] == pair[:, 1]
    easy, absurd = int((itself & issame).sum()), int((itself & ~issame).sum())
    if easy:
        findings.append(
            (fault if easy > 0.01 * issame.sum() else warning)(
                "image with itself",
                f"{share(easy, int(issame.sum()))} genuine pairs are an image with itself, "
                f"e.g. pair {np.flatnonzero(itself & issame)[0]}",
                "they are always correct: draw them again",
            )
        )
    if absurd:
        findings.append(
            fault(
                "image with itself",
                f"{absurd:,} impostor pairs are an image with itself, e.g. pair {np.flatnonzero(itself & ~issame)[0]}",
                "no model can get them right: truth values inverted or images mixed up",
            )
        )
    extra = total - len(np.unique(pair, axis=0))
    if extra:
        findings.append(
            note("repeated pairs", f"{share(extra, total)} are repeated: the results look more certain than they are")
        )
    return findings


def contradictions(benchmark: Benchmark, same: np.ndarray) -> Finding:
    """Genuine pairs link images into people; an impostor pair within one person is a contradiction."""
    pair = same[np.asarray(benchmark.index)].reshape(-1, 2)
    issame, images = np.asarray(benchmark.issame, bool), int(same.max()) + 1
    genuine, impostor = pair[issame], pair[~issame]
    links = coo_matrix((np.ones(len(genuine)), (genuine[:, 0], genuine[:, 1])), shape=(images, images))
    person = connected_components(links, directed=False)[1]
    wrong = np.flatnonzero(person[impostor[:, 0]] == person[impostor[:, 1]])
    if not len(wrong):
        return ok("consistency", "no impostor pair contradicts the genuine ones")
    says = fault if len(wrong) > 0.01 * len(impostor) else warning
    return says(
        "consistency",
        f"{share(len(wrong), len(impostor))} impostor pairs join images that genuine pairs link to one person",
        "truth values inverted, shuffled or partly wrong: compare with the published list",
    )


def overlap(training: Scan, benchmark: Scan) -> Finding:
    """Benchmark images in the training set: the same bytes, the same pixels, or a resized or re-encoded copy."""
    shared = np.isin(benchmark.pixels, training.pixels[training.good]) & benchmark.good
    shared |= np.isin(benchmark.content, training.content[training.good]) & benchmark.good
    found = np.flatnonzero(shared)
    where = "the training set" if training.complete else f"the sample of {len(training.numbers):,} training images"
    if len(found):
        return fault(
            "overlap",
            f"{share(len(found), len(shared))} images are in {where}, e.g. image {found[0]}",
            "accuracy would measure memorization: leave these people out of the training set",
            images=found[:100],
        )
    best, number = nearest(training, benchmark)
    copies = np.flatnonzero(best > COPY)
    if len(copies):
        return warning(
            "overlap",
            f"{share(len(copies), len(shared))} images look like copies of images in {where}, "
            f"e.g. image {copies[0]} of training image {number[copies[0]]}",
            "resized or re-encoded? Inspect them, and leave these people out of the training set",
            images=copies[:100],
        )
    return ok("overlap", f"no copy in {where}" + ("" if training.complete else " (--full compares all)"))


def nearest(training: Scan, benchmark: Scan) -> tuple[np.ndarray, np.ndarray]:
    """Per benchmark image: the highest thumbnail correlation, float32 [M], and the image that has it, int64 [M]."""
    own, best = _centered(benchmark), np.full(len(benchmark.numbers), -1, np.float32)
    number = np.full(len(best), -1)
    for start in range(0, len(training.numbers), _CHUNK):
        part = slice(start, start + _CHUNK)
        found = own @ _centered(training, part).T
        closest = found.argmax(axis=1)
        value = found[np.arange(len(best)), closest]
        number = np.where(value > best, training.numbers[part][closest], number)
        best = np.maximum(best, value)
    return best, number


def _centered(scan: Scan, part: slice = slice(None)) -> np.ndarray:
    """Thumbnails of mean 0 and length 1; unreadable and blank images are 0 and match nothing."""
    values = scan.thumbnail[part].astype(np.float32)
    values -= values.mean(axis=1, keepdims=True)
    values[~scan.good[part] | (scan.spread[part] < BLANK)] = 0
    return values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-6)
