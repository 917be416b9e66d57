# SPDX-License-Identifier: Apache-2.0
"""Verification of templates (IJB-B, IJB-C 1:1): sets of faces compared as one embedding each.

InsightFace's protocol: raw embeddings (their length reflects the model's confidence), times the detector's score if it
is known (a template whose scores are all 0 is fused without them); the mean over the faces of a medium, so that a long
video counts once; the sum over the media of a template; unit length; cosine similarity.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
from collections.abc import Iterator

import numpy as np

from adaptface_jax.core.processors import cores
from adaptface_jax.core.text import plural
from adaptface_jax.data.benchmarks.ijb import TemplateBenchmark
from adaptface_jax.evaluation.distances import unit_embeddings
from adaptface_jax.evaluation.roc import far_name, roc_curve

FARS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
_BLOCK = 1 << 10  # faces, or pairs, at a time: blocks that stay in the processor's cache are three times as fast


@dataclasses.dataclass(frozen=True)
class TemplateResult:
    """pairs, of templates, and how many are genuine; templates; images; detector_scores: whether faces were weighted
    by them. auc, eer. tar_at_far: FAR 1e-1 .. 1e-6 by name -> TAR, None if under 10 false accepts are expected."""

    pairs: int
    genuine_pairs: int
    templates: int
    images: int
    detector_scores: bool
    auc: float
    eer: float
    tar_at_far: dict[str, float | None]

    def line(self, name: str) -> str:
        """One line to print; name: the benchmark's."""
        tars = ", ".join(
            f"{far} {'n/a' if tar is None else f'{100 * tar:.2f}%'}" for far, tar in self.tar_at_far.items()
        )
        return (
            f"{name}: {plural(self.templates, 'template')}, {plural(self.pairs, 'pair')}, AUC {self.auc:.6f}, "
            f"EER {100 * self.eer:.2f}%, TAR@FAR {tars}"
        )


def score_templates(units: np.ndarray, benchmark: TemplateBenchmark) -> TemplateResult:
    """The metrics of a benchmark's pairs. units: float32 [T, E], from `template_embeddings`."""
    scores = pair_scores(units, benchmark.pairs)
    roc = roc_curve(-scores, benchmark.issame)
    return TemplateResult(
        pairs=len(scores),
        genuine_pairs=roc.genuine,
        templates=len(units),
        images=len(benchmark.images),
        detector_scores=benchmark.quality is not None,
        auc=roc.auc(),
        eer=roc.eer(),
        tar_at_far={far_name(far): roc.tar_at_far(far) for far in FARS},
    )


def template_embeddings(embeddings: np.ndarray, benchmark: TemplateBenchmark) -> np.ndarray:
    """Raw embeddings of images (plus those of the mirror images), float32 [M, E] -> of templates, at unit length,
    float32 [T, E].

    Raises InputError for non-finite embeddings, or if a template's embedding is zero.
    """
    order = np.lexsort((benchmark.media, benchmark.template))
    template, media = benchmark.template[order], benchmark.media[order]
    new_template = np.concatenate([[True], template[1:] != template[:-1], [True]])
    new_medium = new_template | np.concatenate([[True], media[1:] != media[:-1], [True]])
    # Where each medium starts among the faces, and each template among the media; the last entry of either is the end.
    media_at = np.flatnonzero(new_medium)
    templates_at = np.flatnonzero(new_template[media_at])
    # A score of 0 removes a face: if a template has no other scores, its faces are weighted equally.
    alike = unscored(benchmark)
    sums = np.empty((len(templates_at) - 1, embeddings.shape[1]), np.float32)
    for first, last in _runs(media_at[templates_at]):
        at = media_at[templates_at[first] : templates_at[last] + 1]
        faces = order[at[0] : at[-1]]
        rows = embeddings[benchmark.image[faces]]
        if benchmark.quality is not None:
            quality = benchmark.quality[benchmark.image[faces]]
            rows *= np.where(alike[benchmark.template[faces]], np.float32(1), quality)[:, None]
        means = np.add.reduceat(rows, at[:-1] - at[0], axis=0) / np.diff(at)[:, None].astype(np.float32)
        sums[first:last] = np.add.reduceat(means, templates_at[first:last] - templates_at[first], axis=0)
    return unit_embeddings(sums).astype(np.float32)


def unscored(benchmark: TemplateBenchmark) -> np.ndarray:
    """Which templates have faces of detector score 0 only, bool [T]; none if scores are unknown."""
    scored = np.zeros(len(benchmark.names), bool)
    scored[benchmark.template] = benchmark.quality is None
    if benchmark.quality is not None:
        scored[benchmark.template[benchmark.quality[benchmark.image] != 0]] = True
    return ~scored


def unscored_line(benchmark: TemplateBenchmark) -> str:
    """A remark on `unscored` templates, in one line; empty if there are none."""
    names = benchmark.names[unscored(benchmark)].tolist()
    if not names:
        return ""
    some = ", ".join(map(str, names[:5])) + (" ..." if len(names) > 5 else "")
    what = "template" if len(names) == 1 else f"{len(names):,} templates"
    return f"{what} {some}: all detector scores are 0, so the faces are weighted equally"


def pair_scores(units: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Cosine similarities, float32 [P], of pairs [P, 2] of unit rows [T, E]."""
    scores = np.empty(len(pairs), np.float32)

    def fill(start: int) -> None:
        first, second = pairs[start : start + _BLOCK].T
        np.einsum("pe,pe->p", units[first], units[second], out=scores[start : start + _BLOCK])

    with concurrent.futures.ThreadPoolExecutor(cores()) as threads:
        list(threads.map(fill, range(0, len(pairs), _BLOCK)))
    return scores


def _runs(starts: np.ndarray) -> Iterator[tuple[int, int]]:
    """Ranges of templates (first, end) in order, each of at most _BLOCK faces, or of one template.

    starts: int [T + 1], where the faces of each start, and the end of all.
    """
    first, count = 0, len(starts) - 1
    while first < count:
        last = max(first + 1, int(np.searchsorted(starts, starts[first] + _BLOCK, side="right")) - 1)
        yield first, last
        first = last
