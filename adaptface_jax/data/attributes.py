"""Which attributes of a multi-label dataset are learned."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import shown


def chosen_attributes(chosen: Sequence[str], known: Sequence[str], place: str) -> list[int]:
    """The indices in `known` of the chosen attributes, in their order; of all if none is chosen.

    place: names the dataset in errors.
    Raises InputError for one that the dataset lacks, with the nearest names, and for one that is chosen twice.
    """
    columns = []
    for name in chosen or known:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
            hint = f"did you mean {', '.join(near)}?" if near else f"it has {', '.join(map(shown, known))}"
            raise InputError(f"data.attributes: {place} has no attribute {shown(name)!r}; {hint}")
        column = list(known).index(name)
        if column in columns:
            raise InputError(f"data.attributes: {shown(name)!r} is chosen twice; expected different attributes")
        columns.append(column)
    return columns
