"""Claims about differences hold for a whole page together, and the sentences follow them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptface_jax.evaluation.headline import by_domain, detail, headline, of_all, on_generated
from adaptface_jax.evaluation.statistics.paired_test import Comparison, changes
from adaptface_jax.evaluation.statistics.verdict import LEVEL, Outcome, Verdict, apart, count_tests, judged, together
from benchmarks.simulated_people import DESIGNS, HIGH, MIDDLING, People

RAISED, LOWERED, NOT_SHOWN, FEW = Outcome.RAISED, Outcome.LOWERED, Outcome.NOT_SHOWN, Outcome.FEW


def comparison(
    accuracy: float, accuracy_p: float, auc: float, auc_p: float, few: bool = False, **domains: Comparison
) -> Comparison:
    """Differences of figures, and the p-values of both."""
    ends = ((accuracy - 0.01, accuracy + 0.01), (auc - 0.01, auc + 0.01))
    return Comparison(600, accuracy, ends[0], accuracy_p, 9, 1, auc, ends[1], auc_p, 40, few, domains=domains)


def one(*args, **more) -> Verdict:
    return judged({"faces": comparison(*args, **more)})["faces"]


p_values = st.floats(0, 1)


@given(st.lists(st.tuples(p_values, p_values), min_size=1, max_size=8), st.lists(p_values, max_size=8))
def test_a_difference_is_shown_where_holm_shows_it(wholes, parts):
    """Never above the level, always the smallest p-values, and at least as many as Bonferroni."""
    domains = {str(i): comparison(0.1, p, 0.1, 1.0) for i, p in enumerate(parts)}
    first, *others = [comparison(0.1, p, -0.1, q) for p, q in wholes]
    found = judged(dict(enumerate([dataclasses.replace(first, domains=domains), *others])))
    shown = [(v.found.accuracy_p, v.accuracy.shown) for v in found.values()]
    shown += [(v.found.auc_p, v.auc.shown) for v in found.values()]
    largest = max((p for p, is_shown in shown if is_shown), default=-1.0)
    assert all(is_shown == (p <= largest) for p, is_shown in shown) and largest <= LEVEL
    assert all(is_shown for p, is_shown in shown if p <= 0.8 * LEVEL / len(shown))
    of_parts = [(v.found.accuracy_p, v.accuracy.shown) for v in found[0].domains.values()]
    assert all(is_shown for p, is_shown in of_parts if p <= 0.2 * LEVEL / (2 * len(of_parts)))
    assert all(p <= LEVEL for p, is_shown in of_parts if is_shown)


def test_domains_have_the_whole_level_where_every_benchmark_differs():
    part = comparison(0.1, 0.02, 0.1, 0.02)
    assert one(0.1, 1e-6, 0.1, 1e-6, pose=part).domains["pose"].outcome == RAISED
    assert one(0.1, 1e-6, 0.1, 0.3, pose=part).domains["pose"].outcome == NOT_SHOWN


def test_few_people_show_nothing_and_take_nothing_from_the_others():
    few, enough = comparison(0.1, 1e-9, 0.1, 1e-9, few=True), comparison(0.1, 0.02, 0.1, 0.3)
    found = judged({"few": few, "enough": enough})
    assert found["few"].outcome == FEW and found["enough"].accuracy == RAISED
    assert count_tests(found.values()) == 2


def test_metrics_are_tested_together():
    assert together([RAISED, NOT_SHOWN]) == RAISED and together([LOWERED, FEW]) == LOWERED
    assert together([RAISED, LOWERED]) == Outcome.MIXED and together([]) == Outcome.UNTESTED
    assert RAISED.turned == LOWERED and NOT_SHOWN.turned == NOT_SHOWN


def test_without_scores_only_intervals_that_lie_apart_show_a_difference():
    assert apart((0.7, 0.8), (0.81, 0.9)) == RAISED and apart((0.81, 0.9), (0.7, 0.8)) == LOWERED
    assert apart((0.7, 0.8), (0.79, 0.9)) == NOT_SHOWN and apart(None, (0.8, 0.9)) == Outcome.UNTESTED


# The sentences.


OVER = "over the frozen backbone"


@pytest.mark.parametrize(
    ("verdict", "said"),
    [
        (one(0.021, 1e-4, 0.0123, 1e-4), f"It raised accuracy by 2.10 points and AUC by 0.0123 {OVER}."),
        (one(-0.02, 1e-4, 0.01, 0.2), f"It lowered accuracy by 2.00 points {OVER}; in AUC no difference is shown."),
        (one(0.001, 0.7, 0.0123, 1e-4), f"It raised AUC by 0.0123 {OVER}; in accuracy no difference is shown."),
        (one(-0.02, 1e-4, 0.01, 1e-4), f"It lowered accuracy by 2.00 points and raised AUC by 0.0100 {OVER}."),
        (one(0.04, 0.03, 0.0123, 0.3), "No difference between It and the frozen backbone is shown."),
        (
            one(0.2, 0, 0.2, 0, few=True),
            "Too few people to say whether It differs from the frozen backbone: 40 people.",
        ),
    ],
)
def test_the_headline_of_one_benchmark(verdict, said):
    assert headline("It", {"faces": verdict}) == said


def test_the_headline_of_several_benchmarks():
    found = judged({
        "lfw": comparison(0.1, 1e-9, 0.1, 1e-9), "cfp": comparison(0.1, 0.6, 0.1, 0.5),
        "age": comparison(-0.1, 1e-9, -0.1, 1e-9), "few": comparison(0.1, 1e-9, 0.1, 1e-9, few=True),
    })  # fmt: skip
    assert headline("It", found) == (
        "It raised accuracy or AUC over the frozen backbone on lfw; lowered accuracy or AUC on age; no difference is "
        "shown on cfp; too few people on few."
    )
    assert of_all(found) == Outcome.MIXED
    assert headline("It", {"a": found["cfp"], "b": found["few"]}).endswith("is shown on any of 2 benchmarks.")
    assert "not tested" in headline("It", {}) and of_all({}) == Outcome.UNTESTED


def test_domains_are_named_by_what_is_shown_of_them():
    gained, lost, same = (comparison(d, p, d, p) for d, p in ((0.3, 1e-6), (-0.1, 1e-6), (0.2, 0.5)))
    verdict = one(0.1, 1e-9, 0.1, 1e-9, light=gained, pose=lost, age=same)
    minus = "\N{MINUS SIGN}"
    assert by_domain(verdict) == (
        f"By domain: raised on light (+30.00 points); lowered on pose ({minus}10.00 points); "
        "no difference shown on age."
    )
    assert "no difference is shown on any" in by_domain(one(0.1, 0.4, 0.1, 0.4, age=same))
    assert detail(verdict) == (
        "Accuracy +10.00 (+9.00 to +11.00) points, AUC +0.1000 (+0.0900 to +0.1100), with 95% intervals, "
        "over 600 pairs of 40 people."
    )


def test_generated_faces_are_distinguished_from_photographs():
    assert on_generated((), ("lfw",)) == ""
    assert on_generated(("faces",), ("faces",)).startswith("These benchmarks' faces are synthetic.")
    assert on_generated(("faces",), ("faces", "lfw")).startswith("The faces of faces are synthetic.")


# What they hold.


def shown_of(draws: int, noise: float, better: float) -> np.ndarray:
    """Share of the draws in which anything is significant, and in which the total is raised; three domains each."""
    rng, counts = np.random.default_rng(7), np.zeros(2)
    for _ in range(draws):
        people = People(DESIGNS[1], rng)
        members = np.eye(3, dtype=bool)[rng.integers(0, 3, 600)]
        before, after = (
            {"faces": dataclasses.replace(people.seen(rng, level), domain=members, domain_names=np.array(list("abc")))}
            for level in (noise, better)
        )
        verdict = judged(changes(before, after))["faces"]
        anything = any(one.outcome.shown for one in (verdict, *verdict.domains.values()))
        counts += [anything, verdict.outcome == RAISED]
    return counts / draws


def test_equal_models_are_seldom_called_different_in_anything():
    """The 6% of the long form (benchmarks/verdicts.py) and two standard errors of 100 draws."""
    assert shown_of(100, MIDDLING, MIDDLING)[0] <= 0.06 + 0.044


def test_a_clear_difference_is_shown():
    assert shown_of(20, MIDDLING, HIGH)[1] == 1
