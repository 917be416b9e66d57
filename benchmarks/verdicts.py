"""How often pages claim a difference: for equal models, and for models that differ by twice the interval.

    python benchmarks/verdicts.py --out=benchmarks/results/verdicts.json

A draw simulates people, images and pairs (`simulated_people.py`), a frozen backbone and two runs over them, then writes
the pages: of the first run, its Markdown and its findings, and the page comparing both runs. Equal: all three have the
same expectation. Different: the images of the first run alone are so much less noisy that the expected difference of
the accuracies is twice the half-width of its 95% interval (2 below), or twice its whole width (4). A page claims a
difference where any word or color of it does; its drawn curves, which claim nothing, are left out. The share of R draws
has the standard error sqrt(p (1 - p) / R).
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from showing import show
from simulated_people import DESIGNS, HIGH, MIDDLING, Design, People

from adaptface_jax.checks.run.records import FaceRun, KeptScores
from adaptface_jax.config.schema import Config
from adaptface_jax.evaluation.cells import cell_members
from adaptface_jax.evaluation.markdown import results_markdown
from adaptface_jax.evaluation.pair_scores import PairScores
from adaptface_jax.evaluation.results import BenchmarkResult, Results
from adaptface_jax.evaluation.statistics.paired_test import changes, compare
from adaptface_jax.evaluation.verification import compute_domain_metrics, compute_metrics, judge_pairs
from adaptface_jax.report import drawing
from adaptface_jax.report.comparison import comparison_page
from adaptface_jax.report.run_page import run_page

LEVELS = {"middling": MIDDLING, "high": HIGH}
CONDITIONS = np.array(["pose", "age", "light"])
# What a page says or colors only where it considers a difference significant.
CLAIM = re.compile(r'class="(?:\w+ )?(?:up|down|mixed)\b|\b(?:raised|lowered|ahead of)\b(?! the two)')


def claims(page: str) -> list[str]:
    """The places where a page, HTML or Markdown, claims a difference, apart from its style and fixed notes."""
    body = re.sub(r"<style>.*?</style>", "", page, flags=re.S)
    return [found[0] for found in CLAIM.finditer(body)]


def with_domains(scores: PairScores, image_domain: np.ndarray) -> PairScores:
    """image_domain: 0 or 1, [M, 3]. The domains and each two of them, as a benchmark with conditions has them."""
    holds = image_domain.astype(bool)[scores.index]
    cells = list(cell_members(scores.index, image_domain))
    names = [*CONDITIONS, *(f"{CONDITIONS[row]}-{CONDITIONS[column]}" for row, column, _ in cells)]
    members = np.concatenate([holds[::2] | holds[1::2], *(chosen[:, None] for _, _, chosen in cells)], axis=1)
    return dataclasses.replace(scores, domain=members, domain_names=np.array(names))


def entry(scores: PairScores) -> BenchmarkResult:
    judged = judge_pairs(scores.distance, scores.issame, index=scores.index, person=scores.person)
    members = scores.domain[:, :3] if scores.domain is not None else np.zeros((len(scores.issame), 0), bool)
    domains = compute_domain_metrics(judged, members, tuple(CONDITIONS[: members.shape[1]]))
    return BenchmarkResult(**vars(compute_metrics(judged)), domains=domains)


def made_run(workdir: Path, seed: int, frozen: PairScores, adapted: PairScores) -> FaceRun:
    """A finished run with nothing on disk."""
    results = Results({"faces": entry(adapted)}, frozen={"faces": entry(frozen)})
    results = dataclasses.replace(results, changes=changes({"faces": frozen}, {"faces": adapted}))
    record = {"backbone": {"source": "made"}, "data": {"source": "made", "images": 640, "classes": 40}}
    config = Config(seed=seed)
    run = FaceRun(
        workdir,
        dataclasses.replace(config, adapter=dataclasses.replace(config.adapter, rank=4 + seed)),
        record,
        [],
        results,
    )
    run.__dict__.update(scores=KeptScores({"faces": adapted}, []), frozen_scores=KeptScores({"faces": frozen}, []))
    return run


def pages(workdir: Path, frozen: PairScores, first: PairScores, second: PairScores) -> dict[str, str]:
    """The claims about two runs, by kind of page."""
    runs = {
        name: made_run(workdir, i, frozen, scores) for i, (name, scores) in enumerate({"a": first, "b": second}.items())
    }
    alone = next(iter(runs.values()))
    assert alone.results is not None
    return {
        "page of a run": run_page(alone),
        "Markdown": results_markdown(alone.results),
        "page over two runs": comparison_page(runs, dict.fromkeys(runs, "")),
    }


def drawn(design: Design, rng: np.random.Generator, noises: tuple[float, float, float]) -> list[PairScores]:
    """The scores of the frozen backbone and two runs on the same people."""
    people = People(design, rng)
    conditions = np.eye(3, dtype=np.uint8)[rng.integers(0, 3, len(people.person))]
    return [with_domains(people.seen(rng, noise), conditions) for noise in noises]


def ratio(design: Design, before: float, after: float, draws: int) -> dict[str, float]:
    """The expected difference of the paired figures in half-widths of its 95% interval."""
    rng = np.random.default_rng([3, design.people, design.pairs])
    found = []
    for _ in range(draws):
        people = People(design, rng)
        found.append(compare(people.seen(rng, before), people.seen(rng, after)))
    return {
        figure: float(
            np.mean([getattr(one, f"{figure}_difference") for one in found])
            / np.mean([np.diff(getattr(one, f"{figure}_interval")) / 2 for one in found])
        )
        for figure in ("accuracy", "auc")
    }


def noise_of(design: Design, before: float, wanted: float, draws: int) -> float:
    """The noise of the better model, so that its accuracy differs by this many half-widths."""
    low, high = 0.1 * before, before
    for _ in range(9):
        middle = (low + high) / 2
        low, high = (middle, high) if ratio(design, before, middle, draws)["accuracy"] > wanted else (low, middle)
    return (low + high) / 2


def one_row(design: Design, level: str, half_widths: float, draws: int) -> dict[str, Any]:
    """Share of the draws in which each kind of page claims a difference."""
    before = LEVELS[level]
    after = noise_of(design, before, half_widths, 60) if half_widths else before
    rng = np.random.default_rng([4, design.people, design.pairs, int(100 * before), int(half_widths)])
    counts: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(draws):
            frozen, better, same = drawn(design, rng, (before, after, before))
            said = pages(Path(folder), frozen, better, same)
            said["headline of a run"] = re.findall('<p class="answer">.*?</p>', said["page of a run"])[0]
            for kind, page in said.items():
                counts[kind] = counts.get(kind, 0) + bool(claims(page))
    row = {"design": design.name, "level": level, "difference_in_half_widths": half_widths, "draws": draws}
    if half_widths:
        row |= {"noise": [before, after], "measured_half_widths": ratio(design, before, after, 100)}
    return row | {"claims": {kind: count / draws for kind, count in counts.items()}}


def without_curves() -> None:
    """Leave out the drawn curves, which claim nothing and take most of the time."""
    drawing.inline_svg = lambda figure, says: ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    without_curves()
    rows: list[dict[str, Any]] = []
    for half_widths, level in itertools.product((0.0, 2.0, 4.0), LEVELS):
        rows.append(one_row(DESIGNS[1], level, half_widths, args.draws))
        show({"rows": rows}, args.out)


if __name__ == "__main__":
    main()
