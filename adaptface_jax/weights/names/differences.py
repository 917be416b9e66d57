"""One report of all differences between a file and its expected content."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from adaptface_jax.core.text import shown
from adaptface_jax.weights.names.transforms import Shape

SHOWN = 6  # names per kind in a report


@dataclasses.dataclass(frozen=True)
class Differences:
    """Tensors that are missing, extra (with their shapes) or of the wrong shape (with both shapes)."""

    missing: list[str]
    extra: list[str]
    misshapen: list[str]

    def __len__(self) -> int:
        return len(self.missing) + len(self.extra) + len(self.misshapen)

    def __str__(self) -> str:
        kinds = (("missing", self.missing), ("extra", self.extra), ("wrong shape", self.misshapen))
        return "; ".join(f"{kind} ({len(names)}): {listed(names)}" for kind, names in kinds if names)


def compare_shapes(expected: Mapping[str, Shape], found: Mapping[str, Shape]) -> Differences:
    """`found` compared with exactly the names and shapes of `expected`."""
    return Differences(
        [name for name in expected if name not in found],
        [f"{shown(name)} {list(shape)}" for name, shape in found.items() if name not in expected],
        [misshapen(name, found[name], shape) for name, shape in expected.items() if found.get(name, shape) != shape],
    )


def misshapen(name: str, shape: Shape, wanted: Shape) -> str:
    """The text about a tensor that does not have the wanted shape."""
    return f"{shown(name)} {list(shape)}, expected {list(wanted)}"


def listed(names: list[str]) -> str:
    """The first few, and how many more."""
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
