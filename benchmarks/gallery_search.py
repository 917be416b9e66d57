# SPDX-License-Identifier: Apache-2.0
"""Probes searched among a million people, here and by FAISS's flat index, in turns in one process.

    pip install faiss-cpu
    python benchmarks/gallery_search.py --probes=1024 --rounds=2 --out=benchmarks/results/gallery_search.json

Synthetic unit embeddings of 512 dimensions; every second probe shows somebody in the gallery. Here each probe's rank,
the most similar stranger and the similarity to its own person are found, exactly; FAISS (`IndexFlatIP`) finds the 20
most similar rows. Both have the same cores. Memory is what the search takes beyond the gallery itself, programs
included. FAISS is needed only for this comparison.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from memory import resident
from showing import show

from adaptface_jax.core.processors import cores
from adaptface_jax.evaluation.search import Faces, Ranking, rank_gallery

WIDTH, DEPTH, WHOLE = 512, 20, 100_000


def made(people: int, probes: int) -> tuple[Faces, Faces]:
    """One row per person, and probes of every second one."""
    rng = np.random.default_rng(0)
    gallery = rng.standard_normal((people, WIDTH), np.float32)
    for start in range(0, people, 1 << 14):
        rows = gallery[start : start + (1 << 14)]
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    person = rng.permutation(people)[:probes]
    points = gallery[person] + 0.15 * rng.standard_normal((probes, WIDTH), np.float32)
    points[1::2] = rng.standard_normal((probes // 2, WIDTH), np.float32)
    person[1::2] = people + np.arange(len(person[1::2]))
    return Faces(gallery, np.arange(people)), Faces(points / np.linalg.norm(points, axis=1, keepdims=True), person)


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds, and CPU seconds of all threads."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def agreement(found: Ranking, labels: np.ndarray, person: np.ndarray) -> float:
    """The share of probes for which both rank the same row first."""
    first = np.where(found.own[:, 0] > found.nearest[:, 0], person, found.row[:, 0])
    return float((first == labels[:, 0]).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=1_000_000)
    parser.add_argument("--probes", type=int, default=1024, help="of a round [1024]")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    import faiss

    gallery, probes = made(args.people, args.probes * args.rounds)
    before = resident("VmRSS")
    rank_gallery(
        Faces(gallery.units[:8192], gallery.person[:8192]), Faces(*(of[: args.probes] for of in probes)), (8192,)
    )
    found: list[Ranking] = []
    rows = []
    index = faiss.IndexFlatIP(WIDTH)
    faiss.omp_set_num_threads(cores())
    beyond = 0
    for start in range(0, len(probes.person), args.probes):
        some = Faces(*(of[start : start + args.probes] for of in probes))
        ours = timed(lambda some=some: found.append(rank_gallery(gallery, some, (args.people,))))
        if not start:
            beyond = resident("VmHWM") - before
            index.add(gallery.units)
        labels: list[np.ndarray] = []
        theirs = timed(lambda some=some, labels=labels: labels.append(index.search(some.units, DEPTH)[1]))
        rows.append(
            {
                "seconds": ours[0],
                "cpu_seconds": ours[1],
                "faiss_seconds": theirs[0],
                "faiss_cpu_seconds": theirs[1],
                "same_row_first": agreement(found[-1], labels[0], some.person),
            }
        )
        print(rows[-1], flush=True)
    seconds, cpu, faiss_seconds, faiss_cpu = (
        float(np.median([row[name] for row in rows]))
        for name in ("seconds", "cpu_seconds", "faiss_seconds", "faiss_cpu_seconds")
    )
    show(
        {
            "people": args.people,
            "probes_a_round": args.probes,
            "rounds": rows,
            "speed_to_faiss": faiss_seconds / seconds,
            "speed_to_faiss_by_cpu_seconds": faiss_cpu / cpu,
            "cpu_seconds_of_100000_probes_extrapolated": cpu / args.probes * WHOLE,
            "gallery_bytes": gallery.units.nbytes,
            "bytes_beyond_the_gallery": beyond,
            "faiss": faiss.__version__,
        },
        args.out,
    )


if __name__ == "__main__":
    main()
