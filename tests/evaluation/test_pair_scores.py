"""The scores of a run are stored, and read back or refused."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from adaptface_jax.core.errors import InputError
from adaptface_jax.evaluation.pair_scores import PairScores, read_scores, write_scores

ISSAME = np.array([True, False, True])
ENTRY = PairScores(np.array([0.5, 1.9, 1.4]), ISSAME, np.array([True, False, False]), np.arange(6, dtype=np.int32))


def test_what_is_written_is_read_back(tmp_path):
    gated = PairScores(*(vars(ENTRY) | {"gate": np.eye(6, 3, dtype=np.float32), "fold": np.array([0, 1, 1])}).values())
    write_scores(tmp_path / "new" / "all.npz", {"lfw": ENTRY, "cfp-fp": gated})
    found = read_scores(tmp_path / "new" / "all.npz")
    assert list(found) == ["lfw", "cfp-fp"]
    np.testing.assert_array_equal(found["lfw"].distance, ENTRY.distance)
    np.testing.assert_array_equal(found["lfw"].right, [True, True, False])
    np.testing.assert_array_equal(found["cfp-fp"].gate, gated.gate)
    assert found["lfw"].gate is None and found["cfp-fp"].fold.tolist() == [0, 1, 1]
    assert found["lfw"].person is None and found["lfw"].domains() == {}
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["all.npz"]


def test_people_and_domains_are_stored_if_the_source_knows_them(tmp_path):
    members = np.array([[True, False, False], [True, True, False], [False, True, False]])
    known = dataclasses.replace(
        ENTRY, person=np.arange(6) // 2, domain=members, domain_names=np.array(["light", "älter", "of no pair"])
    )
    write_scores(tmp_path / "all.npz", {"film": known})
    found = read_scores(tmp_path / "all.npz")["film"]
    assert found.person.tolist() == [0, 0, 1, 1, 2, 2]
    domains = {name: chosen.tolist() for name, chosen in found.domains().items()}
    assert domains == {"light": [True, True, False], "älter": [False, True, True]}


def test_anything_else_is_refused_in_one_line(tmp_path):
    write_scores(tmp_path / "good.npz", {"lfw": ENTRY})
    half = (tmp_path / "good.npz").read_bytes()[:-40]
    cases = {
        "half.npz": half,
        "text.npz": b"no archive",
        "empty.npz": b"",
    }
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
    np.savez(tmp_path / "short.npz", **{"lfw/distance": ENTRY.distance})
    np.savez(tmp_path / "objects.npz", **{"lfw/distance": np.array([None, 1])})
    np.save(tmp_path / "array.npz.npy", ENTRY.distance)
    for name in [*cases, "short.npz", "objects.npz", "array.npz.npy", "no.npz"]:
        with pytest.raises(InputError, match=name) as caught:
            read_scores(tmp_path / name)
        assert "\n" not in str(caught.value)
