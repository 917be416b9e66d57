"""Nested dictionaries, of arrays or of settings: flattening by path, overlaying, counting, comparing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from flax import traverse_util

Tree = Mapping[str, Any]


def flatten(tree: Tree, sep: str = "/") -> dict[str, Any]:
    """{"a": {"b": x}} -> {"a/b": x}, in order; settings are named with sep="."."""
    return traverse_util.flatten_dict(dict(tree), sep=sep)


def unflatten(flat: Mapping[str, Any]) -> dict[str, Any]:
    """{"a/b": x} -> {"a": {"b": x}}."""
    return traverse_util.unflatten_dict(dict(flat), sep="/")


def overlay(base: Tree, top: Tree) -> dict[str, Any]:
    """`base` with the leaves of `top` replacing its own."""
    return unflatten({**flatten(base), **flatten(top)})


def count(tree: Any) -> int:
    """Number of scalars in all leaves."""
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(tree))


def nbytes(tree: Any) -> int:
    """Bytes of all leaves."""
    return sum(int(np.prod(leaf.shape)) * np.dtype(leaf.dtype).itemsize for leaf in jax.tree.leaves(tree))


def device_bytes(tree: Any) -> int:
    """Bytes per device of all leaves, which are on devices."""
    return sum(math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def difference(old: Any, new: Any, name: str = "") -> list[tuple[str, Any, Any]]:
    """(path, old, new) of every leaf that differs."""
    if not (isinstance(old, dict) and isinstance(new, dict)):
        return [] if old == new else [(name, old, new)]
    rows = []
    for key in sorted(old.keys() | new.keys()):
        rows += difference(old.get(key), new.get(key), f"{name}.{key}" if name else key)
    return rows
