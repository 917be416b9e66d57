"""A number for each array of a state that changes with any of its bits, computed on the devices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from adaptface_jax.distributed.mesh import sharding

UNSIGNED = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32}


def make_fingerprint(mesh: Mesh) -> Callable[[Any], jax.Array]:
    """A tree of arrays -> uint32 [leaves], replicated, in the tree's order.

    Every element's bits and position go through a bijection of 32 bits (the finalizer of MurmurHash3), and the results
    are added modulo 2^32: one changed element is always detected, several in all but one case in 2^32, and how devices
    share the sum does not matter.
    """
    return jax.jit(_fingerprint, out_shardings=sharding(mesh))


def leaf_names(tree: Any) -> list[str]:
    """The names of the leaves, such as "trainable.head.bias", in the same order."""
    return [jax.tree_util.keystr(path, simple=True, separator=".") for path, _ in jax.tree.leaves_with_path(tree)]


def _fingerprint(tree: Any) -> jax.Array:
    return jnp.stack([_of(leaf) for leaf in jax.tree.leaves(tree)])


def _of(leaf: jax.Array) -> jax.Array:
    leaf = leaf.astype(jnp.uint8) if leaf.dtype == bool else leaf
    bits = jax.lax.bitcast_convert_type(leaf, UNSIGNED[leaf.dtype.itemsize]).astype(jnp.uint32).ravel()
    mixed = bits + jnp.arange(bits.size, dtype=jnp.uint32) * jnp.uint32(0x9E3779B9)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        mixed = (mixed ^ (mixed >> shift)) * jnp.uint32(factor)
    return jnp.sum(mixed ^ (mixed >> 16), dtype=jnp.uint32)
