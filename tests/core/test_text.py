"""Numbers in readable form."""

from __future__ import annotations

import pytest

from adaptface_jax.core.text import signed, signed_area


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
