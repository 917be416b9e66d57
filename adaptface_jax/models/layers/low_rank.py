# SPDX-License-Identifier: Apache-2.0
"""The low-rank update of a dense layer: one expert (LoRA) or K gated ones (DA-LoRA), one code path."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from adaptface_jax.models.layers.product import product
from adaptface_jax.models.layers.remat import kept
from adaptface_jax.models.layers.rows import column_sum

# {"a": [in, R], "b": [R, out]}, experts concatenated on the rank axis; [B, in, R], [B, R, out] if images differ.
LowRank = Mapping[str, jax.Array]


class Gates(NamedTuple):
    """experts: float32 [B, K], the router's output for each image. ranks: float32 [B, R], the weight of each rank."""

    experts: jax.Array
    ranks: jax.Array


def rank_gates(gate: jax.Array, rank: int, shared: int = 0, null: bool = False) -> jax.Array:
    """The weight of each rank: gates [..., K] of experts of `rank` each, after `shared` ranks of weight 1 -> [..., R].

    null: the last gate's expert is null and has no ranks; its weight is also subtracted from the shared ranks.
    """
    given = gate[..., :-1] if null else gate
    ranks = jnp.repeat(given, rank, axis=-1)
    if not shared:
        return ranks
    whole = 1 - gate[..., -1:] if null else jnp.ones((*gate.shape[:-1], 1), gate.dtype)
    return jnp.concatenate([jnp.repeat(whole, shared, axis=-1), ranks], axis=-1)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Adaptation:
    """The inputs of one block besides its tokens.

    layers: target name -> LowRank of this block.
    gate: float32 [B, R], the weight of each rank for each image (`rank_gates`), or None if all are 1.
    key: drives adapter dropout; None switches it off.
    """

    layers: Mapping[str, LowRank]
    gate: jax.Array | None = None
    key: jax.Array | None = None
    scale: float = dataclasses.field(default=1.0, metadata={"static": True})
    dropout: float = dataclasses.field(default=0.0, metadata={"static": True})

    def split(self, groups: int) -> list[Adaptation]:
        """Those of as many groups of images, equally many in each, in sequence; factors [B, ...] are split too."""
        if groups == 1:
            return [self]

        def of(group: int) -> Adaptation:
            gate = None if self.gate is None else jnp.split(self.gate, groups)[group]
            layers = jax.tree.map(lambda x: jnp.split(x, groups)[group] if x.ndim == 3 else x, dict(self.layers))
            return dataclasses.replace(self, layers=layers, gate=gate)

        return [of(group) for group in range(groups)]

    def deltas(self, x: jax.Array, names: Sequence[str], cpu: bool = False) -> dict[str, jax.Array]:
        """scale * sum_k gate_k B_k A_k x of every adapted layer among `names`, which all read x [B, T, in].

        The experts share one product with A (and one dropout mask): `((x @ A) * gate) @ B`, whatever K is.
        cpu: as for `LayerNorm`; what is returned is float32 then.

        Source: LoRA (arXiv 2106.09685), equation 3, with the gate on the rank axis.
        """
        present = [name for name in names if name in self.layers]
        if not present:
            return {}
        factors = [self.layers[name] for name in present]
        a = factors[0]["a"] if len(factors) == 1 else jnp.concatenate([f["a"] for f in factors], axis=-1)
        if self.key is not None and self.dropout > 0:
            keep = jax.random.bernoulli(jax.random.fold_in(self.key, a.shape[-2]), 1 - self.dropout, x.shape)
            x = jnp.where(keep, x / (1 - self.dropout), 0).astype(x.dtype)
        multiply = product if cpu else jnp.matmul
        hidden = kept((multiply(x, a.astype(x.dtype)) * self.scale).astype(x.dtype))
        if self.gate is not None:
            hidden = _gated(hidden, jnp.tile(self.gate, len(present)), cpu)
        # By split, not by slices, as in `Attention`.
        ends = list(itertools.accumulate(factor["b"].shape[-2] for factor in factors))
        parts = zip(present, jnp.split(hidden, ends[:-1], axis=-1), factors, strict=True)
        return {name: multiply(part, factor["b"].astype(x.dtype)) for name, part, factor in parts}


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _gated(hidden: jax.Array, gate: jax.Array, cpu: bool) -> jax.Array:
    """hidden [B, T, R] times gate float32 [B, R]. cpu: as for `LayerNorm`."""
    return hidden * gate[:, None, :].astype(hidden.dtype)


def _gated_backward(cpu: bool, residuals: tuple[jax.Array, jax.Array], dy: jax.Array) -> tuple[jax.Array, jax.Array]:
    hidden, gate = residuals
    products = dy.astype(jnp.float32) * hidden.astype(jnp.float32)
    d_gate = column_sum(products)[:, 0] if cpu else products.sum(1)
    return _gated(dy, gate, cpu), d_gate


_gated.defvjp(lambda hidden, gate, cpu: (_gated(hidden, gate, cpu), (hidden, gate)), _gated_backward)
