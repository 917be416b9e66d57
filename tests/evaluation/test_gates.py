"""Gates are compared with the domains that images are known to have."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptface_jax.core.errors import InputError
from adaptface_jax.evaluation.gates import gate_report

NAMES = ("frontal", "posed", "dark")
ONE_EACH = np.eye(3, dtype=np.uint8)


def test_a_router_that_found_the_domains():
    gates = np.eye(3)[[0, 0, 1, 2]] * 0.7 + 0.1
    report = gate_report(gates, ONE_EACH[[0, 0, 1, 2]], NAMES)
    assert report.agreement == report.matched_agreement == 1.0
    assert report.mean["posed"] == pytest.approx((0.1, 0.8, 0.1))
    assert report.entropy == pytest.approx(-(0.8 * math.log(0.8) + 0.2 * math.log(0.1)))


def test_a_router_that_numbers_its_experts_by_itself_is_matched():
    domain = np.array([0, 1, 2, 2])
    report = gate_report(np.eye(3)[(domain + 1) % 3], ONE_EACH[domain], NAMES)
    assert (report.agreement, report.matched_agreement, report.entropy) == (0.0, 1.0, 0.0)


def test_images_of_no_known_domain_are_left_out():
    report = gate_report(np.eye(3), ONE_EACH * [[1], [0], [0]], NAMES)
    assert (list(report.mean), report.images) == (["frontal"], 1)


def test_an_image_of_several_domains_is_right_with_any_of_them_and_counts_in_each():
    turned_and_dark = [0, 1, 1]
    report = gate_report(np.eye(3)[[1, 2, 0]], np.array([turned_and_dark] * 3), NAMES)
    assert report.agreement == pytest.approx(2 / 3) and report.images == 3
    assert list(report.mean) == ["posed", "dark"] and report.mean["posed"] == report.mean["dark"]
    assert report.usage["posed"] == pytest.approx((1 / 3, 1 / 3, 1 / 3))


@given(st.integers(0, 2**32 - 1), st.permutations(range(4)))
def test_gates_proportional_to_the_labels_agree_with_all_of_them_however_the_experts_are_numbered(seed, order):
    holds = np.random.default_rng(seed).integers(0, 2, (40, 4))
    holds[0] = 1
    gates = holds / np.maximum(holds.sum(axis=1, keepdims=True), 1)
    names = ("pose", "age", "light", "ordinary")
    assert gate_report(gates, holds, names).agreement == 1
    # Ties go to the first; another numbering makes another one the first.
    single = np.where(holds.argmax(axis=1)[:, None] == np.arange(4), 1.0, 0.0) * holds.any(axis=1)[:, None]
    assert gate_report(single[:, order], holds, names).matched_agreement == 1


@pytest.mark.parametrize(
    ("gates", "domain", "words"),
    [
        (np.eye(3), ONE_EACH[:2], "expected .M, K. and .M, 3."),
        (np.eye(3), np.eye(3)[:, :2], "expected .M, K. and .M, 3."),
        (np.eye(3), 0 * ONE_EACH, "no image has a known domain"),
        (np.full((3, 3), np.nan), ONE_EACH, "non-finite"),
    ],
)
def test_mismatched_inputs_are_refused(gates, domain, words):
    with pytest.raises(InputError, match=words):
        gate_report(gates, domain, NAMES)
