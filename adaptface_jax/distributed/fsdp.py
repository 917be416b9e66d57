"""The frozen tree split over a group of devices: each has a part of every block, a step gathers one block at a time.

The kernels of the blocks, which are nearly all of it (99.8% of ViT-g), are split; vectors, the patch embedding and the
positions are replicated. Source: ZeRO, stage 3 (arXiv 1910.02054), without gradients or an optimizer to split: the
tree is frozen.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding

from adaptface_jax.distributed.mesh import FSDP, MODEL, sharding

BLOCKS = "blocks"  # under this name the leaves have a leading depth axis


def gathered(mesh: Mesh, block: Any) -> Any:
    """One block of the tree with every leaf replicated from here on; within a jitted function."""

    def whole(leaf: jax.Array) -> jax.Array:
        axis = _split_axis(leaf.shape, mesh)
        if axis is None:
            return leaf
        # Constrained on both sides: otherwise the whole stack of blocks might be gathered before the loop over it.
        leaf = jax.lax.with_sharding_constraint(leaf, _split(mesh, axis))
        return jax.lax.with_sharding_constraint(leaf, sharding(mesh))

    return jax.tree.map(whole, block)


def frozen_shardings(mesh: Mesh, tree: Any, fsdp: int) -> Any:
    """The sharding of every leaf of a frozen tree, or of its shapes; fsdp 1: replicated."""

    def of(path: tuple[Any, ...], leaf: Any) -> NamedSharding:
        in_block = fsdp > 1 and any(getattr(part, "key", None) == BLOCKS for part in path)
        axis = _split_axis(leaf.shape[1:], mesh) if in_block else None
        return sharding(mesh) if axis is None else _split(mesh, 1 + axis)

    return jax.tree_util.tree_map_with_path(of, tree)


def place_frozen(mesh: Mesh, tree: Any, fsdp: int) -> Any:
    """A frozen tree of host arrays on the devices, each of which is sent only its own part."""

    def put(leaf: Any, where: NamedSharding) -> jax.Array:
        return jax.make_array_from_callback(leaf.shape, where, np.asarray(leaf).__getitem__)

    return jax.tree.map(put, tree, frozen_shardings(mesh, tree, fsdp))


def _split_axis(shape: tuple[int, ...], mesh: Mesh) -> int | None:
    """The first axis of a block's kernel that the group divides; None for vectors, and if it divides none."""
    group = mesh.shape[FSDP] * mesh.shape[MODEL]
    return next((axis for axis, size in enumerate(shape) if size % group == 0), None) if len(shape) > 1 else None


def _split(mesh: Mesh, axis: int) -> NamedSharding:
    return sharding(mesh, *(None,) * axis, "frozen")
