# SPDX-License-Identifier: Apache-2.0
"""Kernels over several devices: the compiler cannot split one, so each device runs it on its own rows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import jax
from jax.sharding import Mesh

from adaptface_jax.distributed.mesh import spec


def on_rows(
    mesh: Mesh | None, kernel: Callable[..., Any], arrays: Sequence[jax.Array], whole: Collection[int] = ()
) -> Any:
    """kernel(*arrays), whose results are by rows, as arrays are but for the numbers in `whole`.

    mesh: over whose devices rows are split, as images are; None: no device shares anything. It gives no gradients:
    kernels have backward passes of their own.
    """
    if mesh is None or mesh.size == 1:
        return kernel(*arrays)
    in_specs = tuple(spec() if i in whole else spec("batch") for i in range(len(arrays)))
    return jax.shard_map(kernel, mesh=mesh, in_specs=in_specs, out_specs=spec("batch"), check_vma=False)(*arrays)
