# SPDX-License-Identifier: Apache-2.0
"""A training state as checkpoints store it: dictionaries and tuples, under the names of the first version."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, cast

import jax

from adaptface_jax.core.errors import InputError
from adaptface_jax.training.centers import CENTERS
from adaptface_jax.training.step import TrainState

STORED_CENTERS = "centres"  # how checkpoints spell the class centers
_OTHER = "was it copied from another run, or run.json changed?"


def check_shapes(folder: Path, saved: Any, wanted: Any) -> None:
    """Raises InputError if a saved tree is not the requested one, apart from padded rows of class centers."""
    found, expected = (
        {_leaf_name(path): leaf for path, leaf in leaves}
        for leaves in map(jax.tree_util.tree_leaves_with_path, (saved, wanted))
    )
    for name in sorted(found.keys() | expected.keys()):
        before, now = found.get(name), expected.get(name)
        if before is None or now is None:
            raise InputError(f"{folder}: {name} is {'missing' if before is None else 'not part of this run'}; {_OTHER}")
        padded = STORED_CENTERS in name and before.shape[1:] == now.shape[1:]
        if before.dtype != now.dtype or (before.shape != now.shape and not padded):
            held = f"{before.dtype} {list(before.shape)}, expected {now.dtype} {list(now.shape)}"
            raise InputError(f"{folder}: {name} is {held}; {_OTHER}")


def _leaf_name(path: tuple[Any, ...]) -> str:
    return jax.tree_util.keystr(path, simple=True, separator=".")


def of_model(path: tuple[Any, ...]) -> bool:
    """Whether a stored leaf is no class center, and of the optimizer's state only the average of trained weights."""
    name = _leaf_name(path)
    part, _, rest = name.partition(".")
    return STORED_CENTERS not in name.split(".") and (part != "opt_state" or rest.startswith("average."))


def stored(state: TrainState) -> dict[str, Any]:
    """A state, or its shapes, as it is saved."""
    plain = {field.name: getattr(state, field.name) for field in dataclasses.fields(state)}
    return cast(dict[str, Any], _renamed(plain, CENTERS, STORED_CENTERS))


def restored(tree: dict[str, Any]) -> TrainState:
    """The state of a tree that was saved."""
    return TrainState(**_renamed(tree, STORED_CENTERS, CENTERS))


def _renamed(tree: Any, name: str, other: str) -> Any:
    """A tree of dictionaries and tuples in which the key `name` is renamed to `other`."""
    if isinstance(tree, dict):
        return {other if key == name else key: _renamed(value, name, other) for key, value in tree.items()}
    if isinstance(tree, tuple):
        values = [_renamed(value, name, other) for value in tree]
        return type(tree)(*values) if hasattr(tree, "_fields") else tuple(values)
    return tree
