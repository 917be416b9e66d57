"""Whether the set that training sees is the one that lies there."""

from __future__ import annotations

from typing import Any

from adaptface_jax.checks.finding import Finding, note, ok, warning
from adaptface_jax.data.record import Source


def selection(source: Source) -> Finding:
    """What was passed over where the set lies: a picture there is probably missed."""
    skipped, number = source.skipped_files, len(source)
    if not skipped.total:
        return ok("selection", f"{number:,} images, nothing passed over")
    (line,) = skipped.lines()
    numbers: dict[str, Any] = {"pictures": dict(skipped.images), "others": dict(skipped.others)}
    if not skipped.images.total():
        return note("selection", f"{number:,} images; {line}", **numbers)
    return warning(
        "selection",
        f"{number:,} images; {line}",
        "a picture is somebody's where it lies in the folder of a person, at any depth: move or remove these",
        **numbers,
    )
