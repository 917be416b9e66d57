# SPDX-License-Identifier: Apache-2.0
"""The device mesh, and which array axis is split over which mesh axis."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from adaptface_jax.core.errors import InputError
from adaptface_jax.distributed.allocator import keep_freed_memory

DATA, FSDP, MODEL = "data", "fsdp", "model"
GROUPS = (DATA, FSDP)  # over which the class centers are replicated

# Logical axis -> mesh axes; None is replicated. Rows are split over all devices, classes within a group of them, and
# frozen kernels within a group of such groups.
RULES: dict[str | None, tuple[str, ...] | str | None] = {
    "batch": (DATA, FSDP, MODEL), "class": MODEL, "frozen": (FSDP, MODEL), None: None
}  # fmt: skip


def make_mesh(
    devices: Sequence[jax.Device] | None = None, model: int = 1, fsdp: int = 1, *, keep_memory: bool = True
) -> Mesh:
    """A ("data", "fsdp", "model") mesh over all devices (or the given ones).

    `model` devices share the class centers; `fsdp` devices, which are a multiple of `model`, the frozen blocks (1:
    every device has all of them). keep_memory: on a CPU the process also keeps its memory between steps from now on.
    Raises InputError if they do not divide the number of devices, or each other.
    """
    devices = jax.devices() if devices is None else list(devices)
    if len(devices) % model:
        raise InputError(
            f"train.model_parallel: {model} does not divide the {len(devices)} devices; choose a divisor of them"
        )
    if len(devices) % fsdp:
        raise InputError(f"train.fsdp: {fsdp} does not divide the {len(devices)} devices; choose a divisor of them")
    if fsdp > 1 and fsdp % model:
        raise InputError(
            f"train.fsdp: {fsdp} is not a multiple of train.model_parallel {model}, whose device groups it combines; "
            f"choose a multiple of {model} that divides the {len(devices)} devices, or 1"
        )
    if keep_memory and devices[0].platform == "cpu":
        keep_freed_memory()
    joined = max(fsdp // model, 1)
    shape = (len(devices) // (joined * model), joined, model)
    return jax.make_mesh(shape, (DATA, FSDP, MODEL), axis_types=(AxisType.Auto,) * 3, devices=devices)


def here(fsdp: int) -> int:
    """The number of available devices over which to split a tree that was split over `fsdp` elsewhere."""
    return math.gcd(fsdp, jax.device_count())


def spec(*axes: str | None) -> PartitionSpec:
    """The partition of an array whose leading axes have these logical names."""
    return PartitionSpec(*(RULES[axis] for axis in axes))


def sharding(mesh: Mesh, *axes: str | None) -> NamedSharding:
    """The sharding of an array whose leading axes have these logical names; none given means replicated."""
    return NamedSharding(mesh, spec(*axes))


def class_rows(mesh: Mesh, classes: int) -> int:
    """The rows of an array by class: at least `classes`, and the `model` axis divides them."""
    return classes + -classes % mesh.shape[MODEL]


def is_by_class(path: tuple[Any, ...]) -> bool:
    """Whether the leaf of a training state at this path has a row for each class."""
    return any(getattr(part, "key", None) == "centers" for part in path)


def state_shardings(mesh: Mesh, tree: Any) -> Any:
    """The sharding of every leaf of a training state, or of a part of it: by class for class centers and their
    optimizer state, else replicated."""

    def of(path: tuple[Any, ...], _: Any) -> NamedSharding:
        return sharding(mesh, "class") if is_by_class(path) else sharding(mesh)

    return jax.tree_util.tree_map_with_path(of, tree)


def made(mesh: Mesh, init: Callable[..., Any], *given: Any) -> Any:
    """The training state, or the part of it, that init(*given) returns, each leaf allocated where it belongs."""
    return jax.jit(init, out_shardings=state_shardings(mesh, jax.eval_shape(init, *given)))(*given)


def place(mesh: Mesh, tree: Any) -> Any:
    """A training state, or a part of it, on the devices."""
    return jax.device_put(tree, state_shardings(mesh, tree))


def check_batch(batch_size: int, grad_accum: int, mesh: Mesh) -> None:
    """Raise InputError unless every device gets the same number of rows of every part of a batch."""
    devices = mesh.size
    if batch_size % (devices * grad_accum):
        ways = [f"over {devices} devices"] if devices > 1 else []
        ways += [f"into {grad_accum} parts (train.grad_accum)"] if grad_accum > 1 else []
        raise InputError(
            f"train.batch_size: {batch_size} does not split evenly {' and '.join(ways)}; "
            f"use a multiple of {devices * grad_accum}"
        )
