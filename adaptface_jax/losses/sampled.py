"""The class centers of a step: the classes of its images, and a uniform sample of the others.

Source: Partial FC (arXiv 2203.15565). Each shard of classes keeps a fixed number of rows: those of all classes of the
batch, the rest sampled uniformly without replacement from its other classes. The paper sums the exponentials of the
sampled rows; here each is weighted by the inverse of its sampling probability, 1 for a class of the batch and
(others) / (others sampled) for another, so that the expected sum of exponentials is the full sum (its logarithm is
slightly lower on average), and the loss can be compared with that of all classes.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec

from adaptface_jax.config.schema import LossConfig
from adaptface_jax.distributed.mesh import MODEL, is_by_class, spec

# Folded into a step's key: random numbers different from those of its images.
DRAW = 0x63656E74


class Drawn(NamedTuple):
    """The rows of a step.

    places: int32 [m k], of the rows within their shard, ascending. labels: int32 [B], the images' classes as numbers of
    the sampled rows. weights: float32 [m k], the inverse of each row's sampling probability.
    """

    places: jax.Array
    labels: jax.Array
    weights: jax.Array


@dataclasses.dataclass(frozen=True)
class ClassSampler:
    """Samples `kept` rows on each of the mesh's m shards of `classes` class centers."""

    mesh: Mesh
    classes: int
    kept: int

    @property
    def shards(self) -> int:
        return self.mesh.shape[MODEL]

    @property
    def total(self) -> int:
        """Rows of a step, over all shards."""
        return self.shards * self.kept

    @property
    def shard_rows(self) -> int:
        """Rows of a shard, padding included."""
        return -(-self.classes // self.shards)

    def draw(self, key: jax.Array, labels: jax.Array) -> Drawn:
        """The rows for a batch with these labels, int32 [B]; the same on every device with the same shard."""
        local = functools.partial(_draw, classes=self.classes, rows=self.shard_rows, kept=self.kept)
        everywhere, by_class = PartitionSpec(), spec("class")
        given, result = (everywhere, everywhere), (by_class, everywhere, by_class)
        draw = jax.shard_map(local, mesh=self.mesh, in_specs=given, out_specs=result, check_vma=False)
        return Drawn(*draw(jax.random.fold_in(key, DRAW), labels))

    def take(self, tree: Any, drawn: Drawn) -> Any:
        """The tree with the sampled rows [m k, ...] in place of leaves with a row for each class."""
        by_class = spec("class")
        rows = jax.shard_map(_rows, mesh=self.mesh, in_specs=(by_class, by_class), out_specs=by_class)
        return jax.tree_util.tree_map_with_path(
            lambda path, leaf: rows(leaf, drawn.places) if is_by_class(path) else leaf, tree
        )

    def put(self, tree: Any, taken: Any, drawn: Drawn) -> Any:
        """`taken` with its sampled rows put back into `tree`, whose other rows are unchanged."""
        by_class = spec("class")
        rows = jax.shard_map(_with_rows, mesh=self.mesh, in_specs=(by_class,) * 3, out_specs=by_class)
        return jax.tree_util.tree_map_with_path(
            lambda path, leaf, new: rows(leaf, drawn.places, new) if is_by_class(path) else new, tree, taken
        )


def class_sampler(config: LossConfig, classes: int, batch_size: int, mesh: Mesh) -> ClassSampler | None:
    """The sampler of `loss.sample_rate`; None if all classes are used.

    A shard samples at least one row more than the batch has images, since all of them may be of its classes.
    """
    rows = -(-classes // mesh.shape[MODEL])
    kept = max(math.ceil(config.sample_rate * rows), batch_size + 1)
    return ClassSampler(mesh, classes, kept) if kept < rows else None


def _draw(key: jax.Array, labels: jax.Array, *, classes: int, rows: int, kept: int) -> tuple[jax.Array, ...]:
    """The fields of Drawn, of one shard."""
    shard = jax.lax.axis_index(MODEL)
    own = labels - shard * rows
    here = (own >= 0) & (own < rows)
    of_batch = jnp.zeros(rows, bool).at[jnp.where(here, own, rows)].set(True, mode="drop")
    real = jnp.clip(classes - shard * rows, 0, rows)
    # The `kept` largest of random numbers; padding is sampled last, since it is not a class.
    chance = jnp.where(of_batch, 2.0, jax.random.uniform(jax.random.fold_in(key, shard), (rows,)))
    chance = jnp.where(jnp.arange(rows) < real, chance, -1.0)
    index = jnp.sort(jax.lax.top_k(chance, kept)[1])
    place = jnp.zeros(rows, jnp.int32).at[index].set(jnp.arange(kept, dtype=jnp.int32))
    placed = jnp.where(here, shard * kept + place[jnp.where(here, own, 0)], 0)
    count = jnp.sum(of_batch)
    weight = (real - count) / jnp.maximum(jnp.minimum(kept, real) - count, 1)
    weights = jnp.where(of_batch[index], 1.0, weight.astype(jnp.float32))
    return index, jax.lax.psum(placed, MODEL).astype(labels.dtype), weights


def _rows(leaf: jax.Array, index: jax.Array) -> jax.Array:
    return leaf.at[index].get(mode="promise_in_bounds", unique_indices=True, indices_are_sorted=True)


def _with_rows(leaf: jax.Array, index: jax.Array, rows: jax.Array) -> jax.Array:
    return leaf.at[index].set(rows, mode="promise_in_bounds", unique_indices=True, indices_are_sorted=True)
