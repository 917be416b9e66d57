"""Exact search in blocks on the device, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from adaptface_jax.api import gallery
from adaptface_jax.api.gallery import Gallery

ROWS, WIDTH = 16, 8


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(gallery, "ROWS", ROWS)


def units(count: int, seed: int) -> np.ndarray:
    points = np.random.default_rng(seed).standard_normal((count, WIDTH)).astype(np.float32)
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def filled(templates: np.ndarray) -> Gallery:
    return Gallery(WIDTH).added([f"p{number}" for number in range(len(templates))], templates)


def check(held: Gallery, templates: np.ndarray, probes: np.ndarray, top: int) -> None:
    """Brute force in float64; ties go to the lower number."""
    similarity, number = held.nearest(probes, top)
    scores = probes.astype(np.float64) @ templates.T.astype(np.float64)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :top]
    np.testing.assert_array_equal(number, order)
    np.testing.assert_allclose(similarity, np.take_along_axis(scores, order, axis=1), atol=1e-6)


@pytest.mark.parametrize("people", [1, 15, 16, 17, 50, 64])
@pytest.mark.parametrize("top", [1, 5, 20, 100])
def test_the_nearest_match_brute_force(people, top):
    templates = units(people, people)
    check(filled(templates), templates, units(7, 1), top)


def test_more_probes_than_are_searched_at_a_time(monkeypatch):
    monkeypatch.setattr(gallery, "PROBES", 4)
    templates = units(40, 0)
    check(filled(templates), templates, units(11, 1), 3)
    assert [found.shape for found in filled(templates).nearest(units(0, 1), 3)] == [(0, 3), (0, 3)]


def test_ties_keep_their_order_across_blocks():
    """The same template in every block, and twice in one."""
    templates = units(50, 0)
    same = [3, 9, 20, 33, 49]
    templates[same] = templates[3]
    similarity, number = filled(templates).nearest(templates[3:4], 6)
    assert number[0, :5].tolist() == same
    assert len(set(similarity[0, :5].tolist())) == 1


def test_adding_and_removing_equals_building_from_scratch():
    templates, names = units(70, 0), [f"p{number}" for number in range(70)]
    held = filled(templates[:40])
    held = held.added(names[40:41], templates[40:41]).added(names[41:], templates[41:])
    order = list(range(70))
    rng = np.random.default_rng(0)
    while order:
        place = int(rng.integers(len(order)))
        held = held.removed(place)
        order[place] = order[-1]
        order.pop()
        assert len(held) == len(order)
        assert list(held.names()) == [names[number] for number in order]
        if order and len(order) % 7 == 0:
            np.testing.assert_array_equal(np.concatenate(list(held.templates())), templates[order])
            check(held, templates[order], units(3, 2), 5)
    assert held.blocks == ()


def test_a_change_leaves_other_blocks_and_the_old_gallery_unchanged():
    templates = units(50, 0)
    before = filled(templates)
    added = before.added(["new"], units(1, 9))
    assert [new is old for new, old in zip(added.blocks, before.blocks, strict=True)] == [True, True, True, False]
    removed = added.removed(20)
    assert removed.blocks[0] is before.blocks[0] and removed.blocks[2] is before.blocks[2]
    assert removed.name(20) == "new" and before.name(20) == "p20"
    check(before, templates, units(3, 2), 5)


def test_adding_a_person_compiles_nothing():
    held, templates = filled(units(5, 0)), units(60, 1)
    probes = units(2, 2)
    held.nearest(probes, 4)
    compiled = gallery._merged._cache_size()
    for number, template in enumerate(templates):
        held = held.added([f"new {number}"], template[None])
        held.nearest(probes, 4)
    assert held.removed(3).nearest(probes, 3)[0].shape == (2, 3)
    assert gallery._merged._cache_size() == compiled
