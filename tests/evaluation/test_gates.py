"""Gates are compared with the domains that images are known to have."""

from __future__ import annotations

import math

import numpy as np
import pytest

from adaptface_jax.core.errors import InputError
from adaptface_jax.evaluation.gates import gate_report

NAMES = ("frontal", "posed", "dark")


def test_a_router_that_found_the_domains():
    gates = np.eye(3)[[0, 0, 1, 2]] * 0.7 + 0.1
    report = gate_report(gates, np.array([0, 0, 1, 2]), NAMES)
    assert report.agreement == report.matched_agreement == 1.0
    assert report.mean["posed"] == pytest.approx((0.1, 0.8, 0.1))
    assert report.entropy == pytest.approx(-(0.8 * math.log(0.8) + 0.2 * math.log(0.1)))


def test_a_router_that_numbers_its_experts_by_itself_is_matched():
    domain = np.array([0, 1, 2, 2])
    report = gate_report(np.eye(3)[(domain + 1) % 3], domain, NAMES)
    assert (report.agreement, report.matched_agreement, report.entropy) == (0.0, 1.0, 0.0)


def test_images_of_no_known_domain_are_left_out():
    report = gate_report(np.eye(3), np.array([0, -1, -1]), NAMES)
    assert (list(report.mean), report.images) == (["frontal"], 1)


@pytest.mark.parametrize(
    ("gates", "domain", "words"),
    [
        (np.eye(3), np.zeros(2, int), "expected .M, K."),
        (np.eye(3), np.full(3, 3), "3 for 3 names"),
        (np.eye(3), np.full(3, -1), "no image has a known domain"),
        (np.full((3, 3), np.nan), np.zeros(3, int), "not finite"),
    ],
)
def test_what_does_not_fit_is_refused(gates, domain, words):
    with pytest.raises(InputError, match=words):
        gate_report(gates, domain, NAMES)
