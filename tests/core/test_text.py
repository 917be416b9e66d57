# SPDX-License-Identifier: Apache-2.0
"""Numbers and counts in readable form."""

from __future__ import annotations

import pytest

from adaptface_jax.core.text import plural, signed, signed_area


@pytest.mark.parametrize(
    ("change", "points", "area"),
    [
        (0.0, "+0.00", "+0.0000"),
        (-0.0, "+0.00", "+0.0000"),
        (-1e-9, "+0.00", "+0.0000"),
        (-0.015, "\N{MINUS SIGN}1.50", "\N{MINUS SIGN}0.0150"),
    ],
)
def test_zero_has_no_minus_sign(change, points, area):
    assert (signed(change), signed_area(change)) == (points, area)


@pytest.mark.parametrize(
    ("noun", "one", "more"),
    [
        ("image", "1 image", "2,000 images"),
        ("bad record", "1 bad record", "2,000 bad records"),
        ("person", "1 person", "2,000 people"),
        ("identity", "1 identity", "2,000 identities"),
    ],
)
def test_one_is_not_a_plural(noun, one, more):
    assert (plural(1, noun), plural(2000, noun), plural(0, noun)) == (one, more, more.replace("2,000", "0"))
