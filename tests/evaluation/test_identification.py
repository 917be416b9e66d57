"""Searching a gallery, against plain loops and scikit-learn."""

from __future__ import annotations

import hypothesis.extra.numpy as arrays
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import auc, precision_recall_curve

from adaptface_jax.core.errors import InputError
from adaptface_jax.evaluation import search as blocks
from adaptface_jax.evaluation.identification import crowd, identify, numbers_of, person_templates, search, summary
from adaptface_jax.evaluation.search import Faces

PEOPLE, STRANGERS, CROWD, WIDTH = 30, 40, 25, 16


@pytest.fixture(scope="module")
def faces():
    """Gallery of one to three images per person, one row each; five probes of each of them and of strangers;
    distractors."""
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(PEOPLE + STRANGERS + CROWD, WIDTH))

    def shown(person):
        points = centers[person] + 0.9 * rng.normal(size=(len(person), WIDTH))
        return Faces((points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32), person)

    gallery = shown(rng.permutation(np.repeat(np.arange(PEOPLE), rng.integers(1, 4, PEOPLE))))
    probes = shown(rng.permutation(np.repeat(np.arange(PEOPLE + STRANGERS), 5)))
    others = shown(np.arange(PEOPLE + STRANGERS, PEOPLE + STRANGERS + CROWD))
    return gallery, probes, others


def plain(gallery, probes):
    """For each probe, in float64: rank of its person, own and best other similarity, average precision."""
    rank, own, top, precision = [], [], [], []
    for probe, person in zip(probes.units.astype(float), probes.person, strict=True):
        scores, mine = gallery.units.astype(float) @ probe, gallery.person == person
        own.append(scores[mine].max() if mine.any() else np.nan)
        rank.append(1 + (scores[~mine] > own[-1]).sum())
        top.append(scores[~mine].max())
        precisions, recalls, _ = precision_recall_curve(mine, scores) if mine.any() else ([0, 0], [0, 1], 0)
        precision.append(auc(recalls, precisions))
    return np.array(rank), np.array(own), np.array(top), np.array(precision)


@pytest.mark.parametrize("block", [(64, 64), (2048, 4096)])  # in blocks of probes and rows, the last ones short; in one
def test_metrics_match_plain_loops_and_scikit_learn(faces, block, monkeypatch):
    monkeypatch.setattr(blocks, "_PROBES", block[0])
    monkeypatch.setattr(blocks, "_ROWS", block[1])
    gallery, probes, others = faces
    whole = Faces(*(np.concatenate(pair) for pair in zip(gallery, others, strict=True)))
    known = probes.person < PEOPLE
    found = identify(gallery, probes, others)
    rank, own, top, precision = plain(whole, probes)
    assert (found.people, found.gallery_images, found.distractors) == (PEOPLE, len(gallery.person), CROWD)
    assert (found.known_probes, found.unknown_probes) == (5 * PEOPLE, 5 * STRANGERS)
    assert found.cmc == pytest.approx([(rank[known] <= depth).mean() for depth in range(1, 21)])
    assert [found.rank1, found.rank5, found.rank10, found.rank20] == [found.cmc[depth - 1] for depth in (1, 5, 10, 20)]
    assert 0.3 < found.rank1 < found.rank5 < 1
    assert found.mean_average_precision == pytest.approx(precision[known].mean())
    for name, tpir in found.tpir_at_fpir.items():
        if float(name) * 5 * STRANGERS < 10:
            assert tpir is None
            continue
        # Every threshold that accepts no more strangers.
        passing = [cut for cut in np.append(top, own[known]) if (top[~known] > cut).mean() <= float(name)]
        assert tpir == pytest.approx(max(((rank == 1) & (own > cut))[known].mean() for cut in passing))
    assert found.tpir_at_fpir["1e-1"] is not None


def test_ranking_in_blocks_equals_ranking_at_once(faces, monkeypatch):
    """With parts that end anywhere within the blocks; positions are those of the gallery."""
    gallery, probes, others = faces
    whole = Faces(*(np.concatenate(pair) for pair in zip(gallery, others, strict=True)))
    ends = (len(gallery.person), len(gallery.person) + 3, len(whole.person))
    expected = blocks.rank_gallery(whole, probes, ends)
    monkeypatch.setattr(blocks, "_PROBES", 64)
    monkeypatch.setattr(blocks, "_ROWS", 64)
    found = blocks.rank_gallery(whole, probes, ends)
    known = probes.person < PEOPLE
    np.testing.assert_array_equal(found.row, expected.row)
    np.testing.assert_array_equal(found.above[known, 0], expected.above[known, 0])
    np.testing.assert_allclose(found.own, expected.own, atol=1e-6)
    np.testing.assert_allclose(found.nearest, expected.nearest, atol=1e-6)


def test_more_distractors_never_help_and_the_curve_ends_match_separate_searches(faces):
    gallery, probes, others = faces
    found = identify(gallery, probes, others)
    assert list(found.rank1_by_distractors) == ["0", "10", "25"]
    rates = list(found.rank1_by_distractors.values())
    assert rates == sorted(rates, reverse=True) and rates[-1] == found.rank1 < rates[0] == identify(*faces[:2]).rank1
    assert numbers_of(1_000_000) == (0, 10, 100, 1000, 10_000, 100_000, 1_000_000)
    assert (numbers_of(0), numbers_of(10)) == ((0,), (0, 10))


# Similarities of these are exact in float32: they are 0, 1/2 or 1 (or their negatives), so that many tie.
POINTS = np.concatenate([np.eye(4), -np.eye(4), np.full((1, 4), 0.5), [[0.5, 0.5, -0.5, -0.5]]]).astype(np.float32)


@settings(max_examples=30)
@given(
    rows=arrays.arrays(np.int64, (12, 2), elements=st.integers(0, 9)),
    people=st.integers(1, 5),  # also with one person alone in the gallery
    gallery=st.just(4),
    crowded=st.booleans(),
)
def test_ties_count_against_the_probe(rows, people, gallery, crowded):
    units, person = POINTS[rows[:, 0]], rows[:, 1] % people
    enrolled, probes = Faces(units[:gallery], person[:gallery]), Faces(units[gallery:8], person[gallery:8])
    others = Faces(units[8:], -1 - np.arange(4)) if crowded else None
    known = np.isin(probes.person, enrolled.person)
    if not known.any():
        with pytest.raises(InputError, match="no probe is of a person in the gallery"):
            identify(enrolled, probes, others)
        return
    whole = Faces(*(np.concatenate(pair) for pair in zip(enrolled, others, strict=True))) if others else enrolled
    scores, mine = probes.units @ whole.units.T, probes.person[:, None] == whole.person
    own = np.where(mine, scores, -np.inf).max(axis=1, keepdims=True)
    rank = 1 + (~mine & (scores >= own)).sum(axis=1)
    found, outcome = identify(enrolled, probes, others), search(enrolled, probes, others)
    assert found.cmc == pytest.approx([(rank[known] <= depth + 1).mean() for depth in range(len(whole.person))])
    assert (outcome.rank[known, -1] == rank[known]).all()
    for place in np.flatnonzero(known):
        # Own rows after all ties: the worst order that the scores allow.
        order = np.lexsort((mine[place], -scores[place]))
        hits = np.flatnonzero(mine[place, order]) + 1
        counts = np.arange(1, len(hits) + 1)
        before = [1.0 if at == 1 else (count - 1) / (at - 1) for count, at in zip(counts, hits, strict=True)]
        assert outcome.precision[place] == pytest.approx(np.mean((np.array(before) + counts / hits) / 2))
    low, high = found.intervals.rank1
    assert 0 <= low <= found.rank1 <= high <= 1
    assert set(found.tpir_at_fpir.values()) == {None}


def test_a_gallery_of_few_people_has_a_short_cmc():
    eye = Faces(np.eye(3, dtype=np.float32), np.arange(3))
    found = identify(eye, eye)
    assert (found.cmc, found.rank5, found.mean_average_precision) == ((1.0, 1.0, 1.0), 1.0, None)
    assert found.tpir_at_fpir == {"1e-1": None, "1e-2": None, "1e-3": None}
    said = found.lines("mine")
    assert said[0] == "mine: 3 probes of 3 people, rank-1 100.00%"
    assert said[1].endswith("(95%, 3 people: too few to tell)")


def test_two_galleries_are_published_as_one(faces):
    """Ranks over the known probes of either, TPIR as the mean: each probe's person is in one of them."""
    gallery, probes, _ = faces
    halves = [gallery.person % 2 == half for half in (0, 1)]
    outcomes = [search(Faces(gallery.units[half], gallery.person[half]), probes) for half in halves]
    first, second, both = summary(outcomes[:1]), summary(outcomes[1:]), summary(outcomes)
    assert both.known_probes == first.known_probes + second.known_probes == 5 * PEOPLE
    assert both.rank1 == pytest.approx((first.rank1 + second.rank1) / 2)  # of equal numbers of probes
    assert both.tpir_at_fpir["1e-1"] == (first.tpir_at_fpir["1e-1"] + second.tpir_at_fpir["1e-1"]) / 2
    assert both.people == PEOPLE and both.intervals.people == PEOPLE
    low, high = both.intervals.tpir_at_fpir["1e-1"]
    assert low < both.tpir_at_fpir["1e-1"] < high


def test_hits_and_false_hits_at_a_threshold_are_counted(faces):
    gallery, probes, _ = faces
    known = probes.person < PEOPLE
    rank, own, top, _ = plain(gallery, probes)
    found = identify(gallery, probes, threshold=0.7).at_threshold
    assert found.found == pytest.approx(((rank == 1) & (2 - 2 * own < 0.7))[known].mean())
    assert found.false_hits == pytest.approx((2 - 2 * top[~known] < 0.7).mean())
    assert 0 < found.false_hits < found.found < 1


def test_an_interval_has_its_stated_coverage():
    """Rank-1 over draws of people and images: within the intervals in at least 90% of 60 draws."""
    rng, rows = np.random.default_rng(1), []
    for _ in range(60):
        centers, spread = rng.normal(size=(60, WIDTH)), 0.5 * np.exp(0.4 * rng.normal(size=60))

        def shown(person, centers=centers, spread=spread):
            points = centers[person] + spread[person, None] * rng.normal(size=(len(person), WIDTH))
            return Faces((points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32), person)

        found = identify(shown(np.arange(30)), shown(np.repeat(np.arange(60), 5)))
        rows.append((found.rank1, *found.intervals.rank1))
    rate, low, high = np.array(rows).T
    assert np.mean((low <= rate.mean()) & (rate.mean() <= high)) >= 0.9
    assert np.mean(high - low) < 0.2


def test_a_person_is_the_mean_of_unit_embeddings_and_a_distractor_is_nobody():
    rows, person = np.array([[3.0, 0], [0, 5], [0, -1]]), np.array([0, 0, 1])
    np.testing.assert_allclose(person_templates(rows, person), [[0.5**0.5, 0.5**0.5], [0, -1]], atol=1e-7)
    assert crowd(rows, person).person.tolist() == [-1, -2]
