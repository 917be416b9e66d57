"""Whether training uses every image in the set's folder."""

from __future__ import annotations

from typing import Any

from adaptface_jax.checks.finding import Finding, note, ok, warning
from adaptface_jax.data.record import Source


def selection(source: Source) -> Finding:
    """What was skipped in the set's folder: an image among it was probably meant to be used."""
    passed, number = source.passed_over, len(source)
    if not passed.total:
        return ok("selection", f"{number:,} images, nothing skipped")
    (line,) = passed.lines()
    numbers: dict[str, Any] = {"pictures": dict(passed.pictures), "others": dict(passed.others)}
    if not passed.pictures.total():
        return note("selection", f"{number:,} images; {line}", **numbers)
    return warning(
        "selection",
        f"{number:,} images; {line}",
        "an image belongs to the person whose folder contains it, at any depth: move or remove these",
        **numbers,
    )
