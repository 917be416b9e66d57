"""Values of flags: what argparse makes of a text, or says of it in one line."""

from __future__ import annotations

import argparse
from collections.abc import Callable


def whole_number(most: int | None = None, unit: str = "") -> Callable[[str], int]:
    """The `type` of a flag that counts something: a whole number from 1 on, to `most` where there is one.

    unit: what it counts, for the message, e.g. "seconds".
    """
    of, limit = f" of {unit}" if unit else "", "on" if most is None else f"to {most:,}"
    from_one = f"from 1 {limit}"

    def parse(text: str) -> int:
        if not (text.isdecimal() and 1 <= int(text) <= (int(text) if most is None else most)):
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number{of} {from_one}")
        return int(text)

    return parse
