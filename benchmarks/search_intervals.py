"""How often the 95% intervals of rank-1 and TPIR contain the expectation, with simulated people.

    python benchmarks/search_intervals.py --draws 150

Each draw has other people, some harder than others, an image of each known one in the gallery, and probes of all. The
expectation is the mean over the draws.
"""

from __future__ import annotations

import argparse

import numpy as np

from adaptface_jax.evaluation.identification import identify
from adaptface_jax.evaluation.search import Faces

WIDTH = 16
# Known people, strangers, probes of each, noise.
DESIGNS = ((40, 40, 10, 0.5), (100, 100, 5, 0.6), (20, 200, 5, 0.4))


def draw(rng: np.random.Generator, known: int, strangers: int, probes: int, noise: float) -> tuple[Faces, Faces]:
    """A gallery and its probes."""
    centers = rng.normal(size=(known + strangers, WIDTH))
    spread = noise * np.exp(0.4 * rng.normal(size=known + strangers))

    def shown(person: np.ndarray) -> Faces:
        points = centers[person] + spread[person, None] * rng.normal(size=(len(person), WIDTH))
        return Faces((points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32), person)

    return shown(np.arange(known)), shown(np.repeat(np.arange(known + strangers), probes))


def main() -> None:
    """A row per design and metric."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    for design in DESIGNS:
        found = [identify(*draw(rng, *design)) for _ in range(args.draws)]
        for name in ("rank-1", "TPIR@FPIR 1e-1"):
            rows = [
                (one.rank1, *one.intervals.rank1)
                if name == "rank-1"
                else (one.tpir_at_fpir["1e-1"], *one.intervals.tpir_at_fpir["1e-1"])
                for one in found
                if one.intervals
            ]
            rate, low, high = np.array(rows).T
            held = np.mean((low <= rate.mean()) & (rate.mean() <= high))
            print(
                f"{design} {name}: mean {rate.mean():.3f}, held {100 * held:.1f}%, half {(high - low).mean() / 2:.3f}"
            )


if __name__ == "__main__":
    main()
