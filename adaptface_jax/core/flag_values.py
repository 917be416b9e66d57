"""Flag values: parsed from text by argparse, or refused in one line."""

from __future__ import annotations

import argparse
from collections.abc import Callable


def whole_number(most: int | None = None, unit: str = "") -> Callable[[str], int]:
    """The `type` of a flag that counts something: a whole number of at least 1, and at most `most` if given.

    unit: what it counts, for the message, e.g. "seconds".
    """
    of, limit = f" of {unit}" if unit else "", "on" if most is None else f"to {most:,}"
    from_one = f"from 1 {limit}"

    def parse(text: str) -> int:
        if not (text.isdecimal() and 1 <= int(text) <= (int(text) if most is None else most)):
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number{of} {from_one}")
        return int(text)

    return parse
