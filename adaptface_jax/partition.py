"""The device mesh, and which array axis is split over which mesh axis."""

from __future__ import annotations

from collections.abc import Sequence

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from adaptface_jax.errors import InputError

# Logical axis -> mesh axis; None is replicated.
RULES: dict[str | None, str | None] = {"batch": "data", None: None}


def make_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """A mesh with one `data` axis over all devices (or the given ones)."""
    devices = jax.devices() if devices is None else list(devices)
    return jax.make_mesh((len(devices),), ("data",), axis_types=(AxisType.Auto,), devices=devices)


def sharding(mesh: Mesh, *axes: str | None) -> NamedSharding:
    """The sharding of an array whose leading axes carry these logical names; none given means replicated."""
    return NamedSharding(mesh, PartitionSpec(*(RULES[axis] for axis in axes)))


def check_batch(batch_size: int, grad_accum: int, mesh: Mesh) -> None:
    """Raise InputError unless every device gets as many rows of every part of a batch."""
    devices = mesh.size
    if batch_size % (devices * grad_accum):
        raise InputError(
            f"train.batch_size: {batch_size} does not split evenly over {devices} devices and "
            f"{grad_accum} accumulated parts; use a multiple of {devices * grad_accum}"
        )
