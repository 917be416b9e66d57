# SPDX-License-Identifier: Apache-2.0
"""Whether training uses every image in the set's folder."""

from __future__ import annotations

from typing import Any

from adaptface_jax.checks.finding import Finding, note, ok, warning
from adaptface_jax.core.text import plural
from adaptface_jax.data.record import Source


def selection(source: Source) -> Finding:
    """What was skipped in the set's folder: an image among it was probably meant to be used."""
    skipped, number = source.skipped_files, len(source)
    if not skipped.total:
        return ok("selection", f"{plural(number, 'image')}, nothing skipped")
    (line,) = skipped.lines()
    numbers: dict[str, Any] = {"pictures": dict(skipped.images), "others": dict(skipped.others)}
    if not skipped.images.total():
        return note("selection", f"{plural(number, 'image')}; {line}", **numbers)
    return warning(
        "selection",
        f"{plural(number, 'image')}; {line}",
        "an image belongs to the person whose folder contains it, at any depth: move or remove these",
        **numbers,
    )
