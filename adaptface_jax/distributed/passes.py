# SPDX-License-Identifier: Apache-2.0
"""Forward passes over batches, each read after the next is dispatched, so that the device never waits for the host."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from jax.sharding import Mesh

from adaptface_jax.distributed.mesh import sharding
from adaptface_jax.distributed.processes import place_rows

Found = TypeVar("Found")


def passes(
    function: Callable[[Any], Found], batches: Iterable[tuple[Any, int]], mesh: Mesh
) -> Iterator[tuple[Found, int]]:
    """The result of `function` for each batch (a tree of host arrays, of which this process has its rows) on the
    devices, beside the number of rows that came with it."""
    rows = sharding(mesh, "batch")
    pending: tuple[Found, int] | None = None
    for batch, count in batches:
        found = function(place_rows(batch, rows))
        if pending is not None:
            yield pending
        pending = (found, count)
    if pending is not None:
        yield pending
