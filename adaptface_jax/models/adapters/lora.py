"""Low-rank adapters of a backbone: their shapes, initial values and merging into the weights.

A tree of adapters maps each target to factors stacked over the depth L, experts side by side on the rank axis:

    {"qkv": {"a": [L, D, R], "b": [L, R, 3D]}, "proj": {"a": [L, D, R], "b": [L, R, D]}}        R = s + K * r

LoRA is K = 1 and s = 0. The first s ranks are the shared expert's. Sources: LoRA (arXiv 2106.09685); rsLoRA (arXiv
2312.03732); an expert that is always on beside gated ones (DeepSeekMoE, arXiv 2401.06066); initial values as in PEFT.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from adaptface_jax.config.schema import AdapterConfig
from adaptface_jax.core import trees
from adaptface_jax.models.layers.low_rank import rank_gates
from adaptface_jax.models.specs import BackboneSpec


def experts(config: AdapterConfig) -> int:
    """K: how many experts each adapted layer holds."""
    return config.num_domains if config.kind == "dalora" else 1


def shared(config: AdapterConfig) -> int:
    """s: the rank of the expert that every image gets in full."""
    return config.shared_rank if config.kind == "dalora" else 0


def scale(config: AdapterConfig) -> float:
    """The factor on B A x: alpha / r, or alpha / sqrt(r) with use_rslora."""
    return config.alpha / (math.sqrt(config.rank) if config.use_rslora else config.rank)


def target_shapes(spec: BackboneSpec, targets: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Target -> (in, out) of its dense layer."""
    width, hidden = spec.width, spec.mlp_width
    known = {
        "qkv": (width, 3 * width),
        **dict.fromkeys(("q", "k", "v", "proj"), (width, width)),
        "fc1": (width, 2 * hidden if spec.mlp == "swiglu" else hidden),
        "fc2": (hidden, width),
    }
    return {name: known[name] for name in targets}


def init_adapters(key: jax.Array, spec: BackboneSpec, config: AdapterConfig) -> dict[str, dict[str, jax.Array]]:
    """A uniform in +-1/sqrt(in), B zero, float32: the adapted model starts equal to the frozen one."""
    width = shared(config) + experts(config) * config.rank
    result = {}
    for i, (name, (din, dout)) in enumerate(target_shapes(spec, config.targets).items()):
        bound = 1 / math.sqrt(din)
        a = jax.random.uniform(jax.random.fold_in(key, i), (spec.depth, din, width), minval=-bound, maxval=bound)
        result[name] = {"a": a, "b": jnp.zeros((spec.depth, width, dout))}
    return result


def merge(
    backbone: Mapping[str, Any],
    adapters: Mapping[str, Any],
    scale: float,
    mix: jax.typing.ArrayLike | Sequence[float] = (1.0,),
    shared: int = 0,
) -> dict[str, Any]:
    """The backbone with `scale * sum_k mix_k A_k B_k` added to every adapted kernel: exact for LoRA (mix = 1).

    mix: [K], or [L, K] where blocks differ. For DA-LoRA a fixed mix replaces the per-image gates, an approximation.
    shared: s, the ranks that are added in full.
    """
    flat = trees.flatten(backbone)
    weights = jnp.atleast_2d(jnp.asarray(mix))
    thirds = {"q": 0, "k": 1, "v": 2}
    for name, factor in adapters.items():
        depth, _, width = factor["a"].shape
        gate = rank_gates(weights, (width - shared) // weights.shape[-1], shared)
        gate = jnp.broadcast_to(gate, (depth, width))
        with jax.default_matmul_precision("highest"):
            update = scale * jnp.einsum("lir,lr,lro->lio", factor["a"], gate, factor["b"])
        layer = "qkv" if name in thirds else name
        path = f"blocks/{'mlp' if layer.startswith('fc') else 'attn'}/{layer}/kernel"
        kernel = jnp.asarray(flat[path])
        if name in thirds:
            start = thirds[name] * update.shape[-1]
            flat[path] = kernel.at[..., start : start + update.shape[-1]].add(update.astype(kernel.dtype))
        else:
            flat[path] = kernel + update.astype(kernel.dtype)
    return trees.unflatten(flat)
