# SPDX-License-Identifier: Apache-2.0
"""The margin softmax with the class centers split over the mesh's `model` axis, without holding all logits at once.

Every device holds C / m class centers and goes through them in chunks, keeping for each image of its group the cosine
of its own class and the log-sum-exp of the others so far (online: running maximum and sum). The devices of a group
combine both with one sum and one maximum. The backward pass computes each chunk's logits again.

Equal in value and gradient to `margin.margin_loss`, which runs instead if its logits are small. Sources: the
split of the classes as in Partial FC (arXiv 2010.05222); the online normalizer (arXiv 1805.02867).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec

from adaptface_jax.config.schema import LossConfig
from adaptface_jax.core.errors import InputError
from adaptface_jax.distributed.mesh import GROUPS, MODEL, spec
from adaptface_jax.losses.margin import (
    MarginOutput,
    NormStatistics,
    drawn_margins,
    margin_loss,
    norm_penalty,
    product,
    product_dtype,
    quality_norms,
    target_with_margin,
    unit,
)

# Logits of a device at a time, 64 MiB in float32.
LOGITS = 2**24


@dataclasses.dataclass(frozen=True)
class ClassShards:
    """The mesh of the classes, the scale s of the logits, how many classes a device processes at a time, and the dtype
    of the products."""

    mesh: Mesh
    scale: float
    chunk: int
    dtype: Any


def class_loss(
    config: LossConfig,
    embeddings: jax.Array,
    centers: jax.Array,
    labels: jax.Array,
    statistics: NormStatistics,
    mesh: Mesh,
    weights: jax.Array | None = None,
    key: jax.Array | None = None,
) -> MarginOutput:
    """`margin.margin_loss` on any mesh and for any number of classes.

    embeddings [B, d] raw, B a multiple of the device count; labels int [B]; centers [C, d], C a multiple of the
    `model` axis; rows of zeros are padding and no classes (see `models.head.init_centers`). weights, key: as there.
    """
    if all_at_once(config, embeddings.shape[0], centers.shape[0], mesh):
        return margin_loss(config, embeddings, centers, labels, statistics, weights, key)
    embeddings = embeddings.astype(jnp.float32)
    chunk = min(chunk_of(config, embeddings.shape[0], mesh), centers.shape[0] // mesh.shape[MODEL])
    shards = ClassShards(mesh, config.scale, chunk, product_dtype(config))
    shift = jnp.zeros(centers.shape[0], jnp.float32) if weights is None else jnp.log(weights)
    target, others = target_and_others(unit(embeddings), unit(centers), shift, labels, shards)
    norms, statistics = quality_norms(config, embeddings, statistics)
    shifted = target_with_margin(config, target, norms, statistics, drawn_margins(config, key, len(target)))
    losses = jax.nn.softplus(others - config.scale * shifted)
    return MarginOutput(losses, target, target - shifted, statistics, norm_penalty(config, norms))


def all_at_once(config: LossConfig, rows: int, classes: int, mesh: Mesh) -> bool:
    """Whether the logits of these rows and classes, over all devices, fit in memory."""
    return mesh.shape[MODEL] == 1 and classes <= chunk_of(config, rows, mesh)


def chunk_of(config: LossConfig, rows: int, mesh: Mesh) -> int:
    """The number of classes whose logits a device holds at a time, for `rows` rows over all devices."""
    return config.class_chunk or max(1, LOGITS // (rows // (mesh.size // mesh.shape[MODEL])))


def check_classes_fit(config: LossConfig, rows: int, classes: int, mesh: Mesh) -> None:
    """Raise InputError for a loss that needs the logits of all classes together, if they are too many.

    rows: of a part of a batch. classes: those that a step samples.
    """
    name = "loss.name: curricularface" if config.name == "curricularface" else ""
    if config.subcenters > 1:
        name = f"loss.subcenters: {config.subcenters} centers per class"
    if name and not all_at_once(config, rows, classes, mesh):
        raise InputError(
            f"{name} needs the logits of all {classes:,} classes at once on one device; leave out "
            "train.model_parallel and loss.class_chunk, or sample fewer classes with loss.sample_rate"
        )


@functools.partial(jax.custom_vjp, nondiff_argnums=(4,))
def target_and_others(
    rows: jax.Array, classes: jax.Array, shift: jax.Array, labels: jax.Array, shards: ClassShards
) -> tuple[jax.Array, jax.Array]:
    """Of unit rows [B, d] and unit classes [C, d]: the cosine t [B] of each row with its class, and
    log sum_j exp(s cos_j + shift_j) [B] over the other classes. shift [C] has no gradient."""
    return _forward(rows, classes, shift, labels, shards)[0]


def _forward(rows: jax.Array, classes: jax.Array, shift: jax.Array, labels: jax.Array, shards: ClassShards) -> tuple:
    by_row, by_class = spec("batch"), spec("class")
    local = functools.partial(_local_forward, shards=shards)
    out = _on_mesh(local, shards, (by_row, by_class, by_class, by_row), (by_row, by_row))(rows, classes, shift, labels)
    return out, (rows, classes, shift, labels, out[1])


def _backward(shards: ClassShards, kept: tuple, gradients: tuple[jax.Array, jax.Array]) -> tuple:
    by_row, by_class = spec("batch"), spec("class")
    local = functools.partial(_local_backward, shards=shards)
    given = (by_row, by_class, by_class, by_row, by_row, by_row, by_row)
    d_rows, d_classes = _on_mesh(local, shards, given, (by_row, by_class))(*kept, *gradients)
    return d_rows, d_classes, None, None


target_and_others.defvjp(_forward, _backward)


def _on_mesh(
    function: functools.partial, shards: ClassShards, given: tuple, result: tuple[PartitionSpec, ...]
) -> Callable[..., Any]:
    # The collectives of both directions are explicit here: nothing is differentiated through them.
    return jax.shard_map(function, mesh=shards.mesh, in_specs=given, out_specs=result, check_vma=False)


def _group(x: jax.Array) -> jax.Array:
    """The rows of all devices that share these rows' class shards."""
    return jax.lax.all_gather(x, MODEL, tiled=True)


def _own(x: jax.Array, count: int) -> jax.Array:
    """This device's `count` rows of its group's."""
    return jax.lax.dynamic_slice_in_dim(x, jax.lax.axis_index(MODEL) * count, count)


def _chunks(classes: jax.Array, chunk: int) -> jax.Array:
    """This device's values per class, [c, ...], as [n, k, ...], k at most `chunk`, zeros at the end."""
    count = -(-classes.shape[0] // chunk)
    size = -(-classes.shape[0] // count)
    padding = ((0, count * size - classes.shape[0]), *((0, 0) for _ in classes.shape[1:]))
    return jnp.pad(classes, padding).reshape(count, size, *classes.shape[1:])


def _logits(
    rows: jax.Array, block: jax.Array, shift: jax.Array, own: jax.Array, shards: ClassShards
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """cosine [b, k]; is_target [b, k]; s * cosine + shift of the other classes, -inf at the target and at padding.

    own: each row's class, counted from the block's first.
    """
    cosine = product(rows, block.T, shards.dtype)
    is_target = own[:, None] == jnp.arange(block.shape[0])[None, :]
    real = jnp.any(block != 0, axis=-1)
    return cosine, is_target, jnp.where(real[None, :] & ~is_target, shards.scale * cosine + shift, -jnp.inf)


def _local_forward(
    rows: jax.Array, classes: jax.Array, shift: jax.Array, labels: jax.Array, *, shards: ClassShards
) -> tuple[jax.Array, jax.Array]:
    count, first = rows.shape[0], jax.lax.axis_index(MODEL) * classes.shape[0]
    rows, own = _group(rows), _group(labels) - first
    blocks, shifts = (_chunks(x, shards.chunk) for x in (classes, shift))
    size = blocks.shape[1]

    def body(carry: tuple, step: tuple) -> tuple:
        target, top, total = carry
        i, block, shift = step
        cosine, is_target, logits = _logits(rows, block, shift, own - i * size, shards)
        higher = jnp.maximum(top, jnp.max(logits, axis=1))
        total = total * jnp.exp(top - higher) + jnp.sum(jnp.exp(logits - higher[:, None]), axis=1)
        return (target + jnp.sum(jnp.where(is_target, cosine, 0), axis=1), higher, total), None

    zero = jnp.zeros(rows.shape[0], jnp.float32)
    # A finite start below every logit: a shard may be all padding.
    start = (zero, zero - 2 * shards.scale, zero)
    (target, top, total), _ = jax.lax.scan(body, start, (jnp.arange(len(blocks)), blocks, shifts))
    target = jax.lax.psum(target, MODEL)
    highest = jax.lax.pmax(top, MODEL)
    others = highest + jnp.log(jax.lax.psum(total * jnp.exp(top - highest), MODEL))
    return _own(target, count), _own(others, count)


def _local_backward(
    rows: jax.Array,
    classes: jax.Array,
    shift: jax.Array,
    labels: jax.Array,
    others: jax.Array,
    d_target: jax.Array,
    d_others: jax.Array,
    *,
    shards: ClassShards,
) -> tuple[jax.Array, jax.Array]:
    first = jax.lax.axis_index(MODEL) * classes.shape[0]
    rows, others, d_target, d_others = (_group(x) for x in (rows, others, d_target, d_others))
    own = _group(labels) - first
    blocks, shifts = (_chunks(x, shards.chunk) for x in (classes, shift))
    size = blocks.shape[1]

    def body(d_rows: jax.Array, step: tuple) -> tuple[jax.Array, jax.Array]:
        i, block, shift = step
        _, is_target, logits = _logits(rows, block, shift, own - i * size, shards)
        shares = shards.scale * d_others[:, None] * jnp.exp(logits - others[:, None])
        d_cosine = jnp.where(is_target, d_target[:, None], shares)
        d_block = product(d_cosine.T, rows, shards.dtype)
        return d_rows + product(d_cosine, block, shards.dtype), d_block

    d_rows, d_blocks = jax.lax.scan(body, jnp.zeros_like(rows), (jnp.arange(len(blocks)), blocks, shifts))
    d_classes = d_blocks.reshape(-1, rows.shape[1])[: classes.shape[0]]
    return jax.lax.psum_scatter(d_rows, MODEL, tiled=True), jax.lax.psum(d_classes, GROUPS)
