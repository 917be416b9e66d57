# SPDX-License-Identifier: Apache-2.0
"""The cost of evaluation at IJB-C's size: synthetic embeddings through templates, pairs and searches to the metrics.

    python benchmarks/ijb_size.py --out=benchmarks/results/ijb_size.json

469,375 faces in 23,124 templates of 3,531 people, 15,658,489 pairs with 19,557 genuine ones, detector scores; 1:N with
two galleries and 19,593 probes. Raw embeddings of 512 dimensions; timing starts once they exist. For each phase:
seconds, CPU seconds of all threads, and the peak resident memory so far, including the embeddings.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from memory import resident
from showing import show

from adaptface_jax.data.benchmarks.ijb import TemplateBenchmark
from adaptface_jax.data.benchmarks.ijb_search import Listed, TemplateSearch
from adaptface_jax.evaluation.template_search import search_templates
from adaptface_jax.evaluation.templates import score_templates, template_embeddings

FACES, TEMPLATES, PEOPLE, PAIRS, GENUINE, WIDTH = 469_375, 23_124, 3_531, 15_658_489, 19_557, 512
Result = TypeVar("Result")


def made(rng: np.random.Generator) -> tuple[np.ndarray, TemplateBenchmark]:
    """Raw embeddings [FACES, WIDTH], and the lists; the first template of each person is in a gallery."""
    person = np.append(np.arange(PEOPLE), rng.integers(0, PEOPLE, TEMPLATES - PEOPLE))
    template = np.append(np.arange(TEMPLATES), rng.integers(0, TEMPLATES, FACES - TEMPLATES))
    embeddings = rng.standard_normal((FACES, WIDTH), np.float32)
    shown = rng.standard_normal((PEOPLE, WIDTH), np.float32)[person]
    shown += rng.uniform(1, 3, (TEMPLATES, 1)).astype(np.float32) * rng.standard_normal((TEMPLATES, WIDTH), np.float32)
    for start in range(0, FACES, 1 << 14):
        rows = slice(start, start + (1 << 14))
        embeddings[rows] = 1.5 * embeddings[rows] + shown[template[rows]]
    pairs = rng.integers(0, TEMPLATES, (PAIRS, 2))
    order = np.argsort(person, kind="stable")
    mates = np.flatnonzero(person[order][1:] == person[order][:-1])
    pairs[:GENUINE] = np.stack([order[mates], order[mates + 1]], axis=1)[:GENUINE]
    issame = person[pairs[:, 0]] == person[pairs[:, 1]]
    first = np.arange(PEOPLE)
    galleries = {f"G{half + 1}": Listed(first[half::2], person[first[half::2]]) for half in range(2)}
    search = TemplateSearch(galleries, Listed(np.arange(PEOPLE, TEMPLATES), person[PEOPLE:]))
    quality, media = rng.uniform(0.5, 1, FACES).astype(np.float32), rng.integers(0, 8, FACES)
    names, faces = np.arange(TEMPLATES), range(FACES)
    return embeddings, TemplateBenchmark(
        faces, [], np.arange(FACES), template, media, pairs, issame, names, None, quality, "made", search
    )


class Phases:
    """What each phase took."""

    def __init__(self) -> None:
        self.taken: dict[str, dict[str, float]] = {}

    def __call__(self, name: str, work: Callable[..., Result], *args: Any) -> Result:
        wall, cpu = time.perf_counter(), time.process_time()
        result = work(*args)
        self.taken[name] = {
            "seconds": time.perf_counter() - wall,
            "cpu_seconds": time.process_time() - cpu,
            "peak_bytes": resident("VmHWM"),
        }
        print(name, self.taken[name], flush=True)
        return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    phases = Phases()
    embeddings, benchmark = phases("made, not counted", made, np.random.default_rng(0))
    units = phases("templates", template_embeddings, embeddings, benchmark)
    scored = phases("pairs", score_templates, units, benchmark)
    searched = phases("searches", search_templates, units, benchmark.search)
    print(scored.line("made"))
    counted = [taken for name, taken in phases.taken.items() if name != "made, not counted"]
    show(
        {
            "phases": phases.taken,
            "seconds": sum(taken["seconds"] for taken in counted),
            "cpu_seconds": sum(taken["cpu_seconds"] for taken in counted),
            "peak_bytes": resident("VmHWM"),
            "embeddings_bytes": embeddings.nbytes,
            "figures": {"auc": scored.auc, "eer": scored.eer, "tar_at_far": scored.tar_at_far}
            | {"rank1": searched["mean"].rank1, "tpir_at_fpir": searched["mean"].tpir_at_fpir},
        },
        args.out,
    )


if __name__ == "__main__":
    main()
