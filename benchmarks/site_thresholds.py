"""Coverage of thresholds from unlabeled photographs, on sites whose strangers are more similar than a benchmark's
(`simulated_sites.py`).

    python benchmarks/site_thresholds.py --out=benchmarks/results/site_thresholds.json

Rows already in --out are not repeated. How far the scores are shifted is drawn for every site. Piles of
strangers alone, of some people with a second photograph, of every person with several (seen by two models), and of a
model that distinguishes people poorly. The true FAR of a threshold is counted on fresh pairs of strangers of the same
site. The interval holds where the promised FAR lies between the true FARs at the two ends of the threshold's interval.
The benchmark's threshold is evaluated by its own interval of the FAR: whether that contains the true one.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from showing import show
from simulated_sites import FAR, PILES, Pile, one_site

from adaptface_jax.core.json_io import read_json


def one_row(pile: Pile, sites: int) -> dict[str, Any]:
    """Shares over sites."""
    rng = np.random.default_rng([15, pile.photographs, int(10 * pile.several), int(10 * pile.noise)])
    held = [one_site(pile, rng) for _ in range(sites)]
    known = [one for one in held if one.known]
    columns = {name: np.array([getattr(one, name) for one in known]) for name in vars(held[0])}
    return {
        "pile": pile.name,
        "sites": sites,
        "with_a_threshold": len(known),
        "promised_far_inside": columns["inside"].mean(),
        "true_far_inside": columns["far_inside"].mean(),
        "true_far": np.quantile(columns["true"], (0.05, 0.5, 0.95)),
        "upper_by_lower_end": np.median(columns["width"]),
        "benchmark_inside": columns["benchmark_inside"].mean(),
        "true_far_of_benchmark": np.quantile(columns["benchmark"], (0.05, 0.5, 0.95)),
        "doubles_left_out": columns["doubles"].mean(),
        "doubles_at_most": columns["most"].mean(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sites", type=int, default=200, help="of each kind of pile [200]")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    rows: list[dict[str, Any]] = read_json(args.out)["piles"] if args.out and args.out.exists() else []
    for pile in PILES[len(rows) :]:
        rows.append(one_row(pile, args.sites))
        show({"far": float(FAR), "piles": rows}, args.out)


if __name__ == "__main__":
    main()
