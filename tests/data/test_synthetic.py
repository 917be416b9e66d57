# SPDX-License-Identifier: Apache-2.0
"""Generated faces: who, in which domain, the same on every machine, and verification pairs drawn from them."""

from __future__ import annotations

import numpy as np
import pytest

from adaptface_jax.core.errors import InputError
from adaptface_jax.data.benchmarks.synthetic import open_synthetic_benchmark
from adaptface_jax.data.sources.synthetic import open_synthetic
from adaptface_jax.data.synthetic_faces.conditions import DOMAINS, draw_conditions
from adaptface_jax.data.synthetic_faces.generate import RESERVED_SEED, Population
from adaptface_jax.evaluation.cells import cell_members

PEOPLE = "identities=12,images=6,seed=5"
PAIRS = f"{PEOPLE},pairs=120"


@pytest.fixture(scope="module")
def source():
    return open_synthetic(PEOPLE)


@pytest.fixture(scope="module")
def benchmark():
    return open_synthetic_benchmark(PAIRS)


def test_a_record_is_a_decoded_image_with_its_person(source):
    assert len(source) == 72 and source.num_classes == 12
    assert source.labels.dtype == np.int32 and np.bincount(source.labels).tolist() == [6] * 12
    record = source[6]
    assert record.image.shape == (112, 112, 3) and record.image.dtype == np.uint8
    assert record.label == 1 and record.key == "seed5/00001/0000"
    assert source[-1].label == 11
    with pytest.raises(IndexError):
        source[72]


def test_every_person_has_equally_many_images_of_each_domain(source):
    assert source.domain_names == ("pose", "age", "light")
    assert (source.domains.sum(axis=1) == 1).all()
    assert (source.domains.reshape(12, 6, 3).sum(axis=1) == 2).all()
    assert source.table.columns["condition"].holds("age").tolist() == source.domains[:, 1].tolist()


def test_the_same_spec_gives_the_same_images_in_any_order(source):
    again = open_synthetic(f"synthetic:{PEOPLE}")
    for i in (40, 3, 41):
        np.testing.assert_array_equal(again[i].image, source[i].image)
    np.testing.assert_array_equal(open_synthetic("identities=40,images=6,seed=5")[40].image, source[40].image)


def test_every_image_differs_and_is_an_image(source):
    images = np.stack([source[i].image for i in range(24)])
    assert len(np.unique(images.reshape(24, -1), axis=0)) == 24
    assert images.std(axis=(1, 2, 3)).min() > 3


def test_other_seeds_give_other_people():
    shapes = [Population(seed).traits(i).shape for seed in (5, 6, RESERVED_SEED) for i in range(40)]
    rows = np.array([list(shape.values()) for shape in shapes])
    distance = np.linalg.norm((rows[:, None] - rows[None]) / rows.std(axis=0), axis=-1) + 99 * np.eye(len(rows))
    assert distance.min() > 1


def test_images_of_one_person_are_more_similar():
    """For evenly lit portraits: across poses and light it takes more than pixels, as the demo shows."""
    people = Population(8, ordinary=True)
    pixels = np.stack([people.picture(i, j)[0].mean(-1).ravel() for i in range(8) for j in range(4)])
    alike = np.corrcoef(pixels).reshape(8, 4, 8, 4)
    same = np.mean([alike[i, a, i, b] for i in range(8) for a in range(4) for b in range(a)])
    others = np.mean([alike[i, :, k, :].mean() for i in range(8) for k in range(i)])
    assert same > others + 0.05


def test_a_domain_makes_its_images_hard():
    drawn = {k: [draw_conditions(np.random.default_rng([k, i]), k, 1.0) for i in range(60)] for k in range(3)}
    for k, name in enumerate(DOMAINS):
        for c in drawn[k]:
            assert (abs(c.yaw) >= 26 - 1e-9) or name != "pose"
            assert (abs(c.age) >= 0.45 - 1e-9) == (name == "age")
            assert (c.ambient < 0.1 or c.exposure < 0.3 or c.exposure > 1.8) == (name == "light")


def test_labels_none_hides_the_domain_and_nothing_else(source, benchmark):
    hidden = open_synthetic(f"{PEOPLE},labels=none")
    assert hidden.domains is None and hidden.table is None
    np.testing.assert_array_equal(hidden[7].image, source[7].image)
    blind = open_synthetic_benchmark(f"{PAIRS},labels=none")
    assert blind.image_domain is None and blind.domain_names == ()
    np.testing.assert_array_equal(blind.index, benchmark.index)


def test_pairs_cross_conditions_and_are_balanced_in_every_cell(benchmark, source):
    first, second = benchmark.index[::2], benchmark.index[1::2]
    assert benchmark.issame.sum() == 60 and len(benchmark.issame) == 120
    assert benchmark.index.max() == len(benchmark.images) - 1 and (first != second).all()
    assert benchmark.domain_names == DOMAINS and benchmark.pair_domain is None
    assert benchmark.image_domain.dtype == np.uint8 and (benchmark.image_domain.sum(axis=1) == 1).all()
    cells = {(row, column): members for row, column, members in cell_members(benchmark.index, benchmark.image_domain)}
    assert list(cells) == [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)]
    for members in cells.values():
        assert members.sum() == 20 and benchmark.issame[members].mean() == 0.5
    owner = {source[i].image.tobytes(): int(source.labels[i]) for i in range(len(source))}
    people = np.array([owner[np.asarray(image).tobytes()] for image in benchmark.images])
    np.testing.assert_array_equal(people[first] == people[second], benchmark.issame)
    np.testing.assert_array_equal(benchmark.person, people)


def test_domains_of_the_run_are_made_from_the_images_conditions(benchmark):
    asked = open_synthetic_benchmark(PAIRS, "hard:condition=pose|light; ordinary")
    assert asked.domain_names == ("hard", "ordinary")
    np.testing.assert_array_equal(asked.image_domain[:, 1], benchmark.image_domain[:, 1])  # age
    of_other_faces = open_synthetic_benchmark(PAIRS, "pose=left|right; light=bad")
    assert of_other_faces.domain_names == DOMAINS


def test_folds_share_no_people_when_there_are_enough():
    pairs = open_synthetic_benchmark("identities=20,images=6,seed=5,pairs=60")
    folds = [set(pairs.index.reshape(10, -1)[k].tolist()) for k in range(10)]
    assert all(not (folds[a] & folds[b]) for a in range(10) for b in range(a))


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        ("identity=3", "identity=3"),
        ("identities", "identities"),
        ("identities=ten", "must be an integer"),
        ("identities=-4", "must be an integer"),
        ("identities=1", "at least 2"),
        ("images=0", "at least"),
        ("identities=8,identities=9", "twice"),
        ("labels=some", "labels=some"),
        (f"seed={RESERVED_SEED}", "packaged backbone"),
        ("identities=99999,images=999", "too many"),
        ("pairs=600", "benchmark"),
    ],
)
def test_a_bad_spec_gives_one_line_that_names_the_settings(spec, named):
    with pytest.raises(InputError) as failure:
        open_synthetic(spec)
    text = str(failure.value)
    assert named in text and "identities=64" in text and "labels=domain" in text and "\n" not in text


@pytest.mark.parametrize("spec", ["identities=8", "images=5,pairs=60", "images=6,pairs=9"])
def test_a_benchmark_needs_pairs_and_images_for_them(spec):
    with pytest.raises(InputError, match="needs"):
        open_synthetic_benchmark(spec)
