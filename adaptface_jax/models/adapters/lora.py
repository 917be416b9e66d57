"""Low-rank adapters of a backbone: their shapes, initial values and merging into the weights.

A tree of adapters maps each target to factors stacked over the depth L, experts side by side on the rank axis:

    {"qkv": {"a": [L, D, R], "b": [L, R, 3D]}, "proj": {"a": [L, D, R], "b": [L, R, D]}}        R = s + K * r

LoRA is K = 1 and s = 0. The first s ranks are the shared expert's. A null expert has none. If the rank differs
between places (`places`), r is the largest, and unused ranks of a place are zero and stay zero. Sources: LoRA
(arXiv 2106.09685); rsLoRA (arXiv 2312.03732); an always active expert next to gated ones (DeepSeekMoE, arXiv
2401.06066); initial values as in PEFT.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from adaptface_jax.config.schema import AdapterConfig
from adaptface_jax.core import trees
from adaptface_jax.models.adapters import places
from adaptface_jax.models.layers.low_rank import rank_gates
from adaptface_jax.models.specs import BackboneSpec


def experts(config: AdapterConfig) -> int:
    """The number of experts of each adapted layer: one for each of K gates, except the null expert's."""
    return config.num_domains - config.null_expert if config.kind == "dalora" else 1


def shared(config: AdapterConfig) -> int:
    """s: the rank of the expert that every image uses in full, scaled up in proportion to the widest rank."""
    return config.shared_rank * places.widest(config) // config.rank if config.kind == "dalora" else 0


def scale(config: AdapterConfig) -> float:
    """The factor on B A x unless a pattern overrides it: alpha / r, or alpha / sqrt(r) with use_rslora."""
    return places.scale(config.alpha, config.rank, config.use_rslora)


def width(config: AdapterConfig) -> int:
    """R: the length of the rank axis."""
    return shared(config) + experts(config) * places.widest(config)


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
    held, length = None, width(config)
    if not places.is_uniform(config):
        places.check_places(config, spec.depth)  # settings from a run's record are not checked yet
        held = ranks_held(spec, config)
    result = {}
    for i, (name, (din, dout)) in enumerate(target_shapes(spec, config.targets).items()):
        bound = 1 / math.sqrt(din)
        a = jax.random.uniform(jax.random.fold_in(key, i), (spec.depth, din, length), minval=-bound, maxval=bound)
        if held is not None:
            a = jnp.where(held[name][:, None], a, 0)
        result[name] = {"a": a, "b": jnp.zeros((spec.depth, length, dout))}
    return result


def ranks_held(spec: BackboneSpec, config: AdapterConfig) -> dict[str, np.ndarray]:
    """Target -> bool [L, R]: which ranks a place has."""
    within = np.concatenate([np.arange(shared(config)), *[np.arange(places.widest(config))] * experts(config)])
    own = np.where(np.arange(width(config)) < shared(config), config.shared_rank, config.rank)
    return {
        target: within < rank[:, None] * own // config.rank for target, rank in places.ranks(config, spec.depth).items()
    }


def applied(adapters: Mapping[str, Any], spec: BackboneSpec, config: AdapterConfig) -> tuple[Mapping[str, Any], float]:
    """(adapters, scale) as layers and `merge` take them; if places differ, each one's scale is in its B.

    Ranks that a place does not have are multiplied by zero, and so are their gradients.
    """
    if places.is_uniform(config):
        return adapters, scale(config)
    held, scales = ranks_held(spec, config), places.scales(config, spec.depth)
    weights = {name: (held[name] * scales[name][:, None]).astype(np.float32)[..., None] for name in adapters}
    return {name: {"a": factor["a"], "b": factor["b"] * weights[name]} for name, factor in adapters.items()}, 1.0


def count_parameters(spec: BackboneSpec, config: AdapterConfig) -> int:
    """The number of scalars in all factors, without the ranks that a place does not have."""
    shapes, held = target_shapes(spec, config.targets), ranks_held(spec, config)
    return sum(int(held[name].sum()) * (din + dout) for name, (din, dout) in shapes.items())


def merge(
    backbone: Mapping[str, Any],
    adapters: Mapping[str, Any],
    scale: float,
    mix: jax.typing.ArrayLike | Sequence[float] = (1.0,),
    shared: int = 0,
) -> dict[str, Any]:
    """The backbone with `scale * sum_k mix_k A_k B_k` added to every adapted kernel: exact for LoRA (mix = 1).

    mix: [K], or [L, K] if blocks differ. For DA-LoRA a fixed mix replaces the per-image gates, an approximation.
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
