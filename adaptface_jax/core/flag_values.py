# SPDX-License-Identifier: Apache-2.0
"""Flag values: parsed from text by argparse, or refused in one line."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

from adaptface_jax.core.text import shortened

LARGEST = 2**31 - 1  # what int32 holds


def integer(text: str) -> int:
    """What `type=int` of a command's flag is: also refuses what int32 cannot hold."""
    try:
        value = int(text)
    except ValueError:  # also thousands of digits
        value = LARGEST + 1
    if abs(value) > LARGEST:
        raise argparse.ArgumentTypeError(f"{shortened(repr(text), 40)} is not a whole number up to {LARGEST:,}")
    return value


def finite(text: str) -> float:
    """What `type=float` of a command's flag is: also refuses nan and infinities."""
    value = _number(text)
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{shortened(repr(text), 40)} is not a finite number")
    return value


def positive(text: str) -> float:
    """The `type` of a flag that is a finite number above 0."""
    value = _number(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{shortened(repr(text), 40)} is not a number above 0")
    return value


def _number(text: str) -> float:
    """NaN for what is no number."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def whole_number(most: int = LARGEST, unit: str = "", least: int = 1) -> Callable[[str], int]:
    """The `type` of a flag that counts something: a whole number of at least `least`, and at most `most`.

    unit: what it counts, for the message, e.g. "seconds".
    """
    of, limit = f" of {unit}" if unit else "", "on" if most == LARGEST else f"to {most:,}"

    def parse(text: str) -> int:
        known = text.isdecimal() and len(text) < 20  # Python itself refuses thousands of digits
        if not (known and least <= int(text) <= most):
            raise argparse.ArgumentTypeError(
                f"{shortened(repr(text), 40)} is not a whole number{of} from {least} {limit}"
            )
        return int(text)

    return parse
