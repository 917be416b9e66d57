"""Searching a gallery, against plain loops."""

from __future__ import annotations

import numpy as np
import pytest

from adaptface_jax.core.errors import InputError
from adaptface_jax.evaluation import identification
from adaptface_jax.evaluation.identification import UNKNOWN, identify, search

PEOPLE, STRANGERS, WIDTH = 30, 40, 16


@pytest.fixture(scope="module")
def faces():
    """Raw embeddings: a gallery of one to three images a person, probes of them, and probes of strangers."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(PEOPLE + STRANGERS, WIDTH))

    def shown(person):
        points = centres[person] + 0.9 * rng.normal(size=(len(person), WIDTH))
        return (points * rng.uniform(0.5, 10, (len(person), 1))).astype(np.float32)

    gallery_person = rng.permutation(np.repeat(np.arange(PEOPLE), rng.integers(1, 4, PEOPLE)))
    probe_person = rng.permutation(np.repeat(np.arange(PEOPLE + STRANGERS), 5))
    known = np.where(probe_person < PEOPLE, probe_person, UNKNOWN)
    return shown(gallery_person), gallery_person, shown(probe_person), known


def plain(gallery, gallery_person, probes, probe_person):
    """Rank, own and best similarity of each probe, in float64, one at a time."""
    units = gallery.astype(float) / np.linalg.norm(gallery, axis=1, keepdims=True)
    templates = np.array([units[gallery_person == person].mean(axis=0) for person in range(PEOPLE)])
    templates /= np.linalg.norm(templates, axis=1, keepdims=True)
    rank, own, top = [], [], []
    for probe, person in zip(probes.astype(float), probe_person, strict=True):
        scores = templates @ (probe / np.linalg.norm(probe))
        own.append(scores[person])
        rank.append(1 + sum(score > scores[person] for score in scores))
        top.append(max(scores))
    return np.array(rank), np.array(own), np.array(top)


@pytest.mark.parametrize("block", [PEOPLE * 64, 1 << 24])  # in blocks of 64 probes, the last one short; in one
def test_figures_are_those_of_plain_loops(faces, block, monkeypatch):
    monkeypatch.setattr(identification, "_SCORES", block)
    rank, own, top = plain(*faces)
    known = faces[3] != UNKNOWN
    found = identify(*faces)
    assert (found.people, found.known_probes, found.unknown_probes) == (PEOPLE, 5 * PEOPLE, 5 * STRANGERS)
    assert found.cmc == pytest.approx([(rank[known] <= depth).mean() for depth in range(1, 21)])
    assert (found.rank1, found.rank5) == (found.cmc[0], found.cmc[4])
    assert 0.5 < found.rank1 < found.rank5 < 1
    for name, tpir in found.tpir_at_fpir.items():
        fpir = float(name)
        if fpir * 5 * STRANGERS < 10:
            assert tpir is None
            continue
        # Every threshold that lets no more strangers pass.
        passing = [cut for cut in top if (top[~known] > cut).mean() <= fpir]
        assert tpir == pytest.approx(max(((rank == 1) & (own > cut))[known].mean() for cut in passing), abs=0.02)
    assert found.tpir_at_fpir["1e-1"] is not None


def test_a_tie_counts_against_the_probe():
    same = np.ones((3, 4), np.float32) / 2
    rank, own, top = search(same, same[:2], np.array([0, 2]))
    assert rank.tolist() == [3, 3]
    np.testing.assert_allclose([own, top], 1.0)


def test_a_gallery_of_few_people_has_a_short_cmc():
    found = identify(np.eye(3), np.arange(3), np.eye(3), np.arange(3))
    assert (found.cmc, found.rank5) == ((1.0, 1.0, 1.0), 1.0)
    assert set(found.tpir_at_fpir.values()) == {None}
    assert found.tpir_at_fpir == {"1e-1": None, "1e-2": None, "1e-3": None}
    assert "rank-1 100.00%" in found.line() and "n/a" in found.line()


def test_probes_of_strangers_alone_are_refused():
    with pytest.raises(InputError, match="no probe shows a person of the gallery"):
        identify(np.eye(3), np.arange(3), np.eye(3), np.full(3, UNKNOWN))
