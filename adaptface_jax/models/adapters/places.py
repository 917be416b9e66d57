# SPDX-License-Identifier: Apache-2.0
"""Where an adapter acts and how strongly: the rank and the scale of every target in every block.

A place is a target in a block. `adapter.rank_pattern` and `adapter.alpha_pattern` refer to it by its name, such as
`blocks.3.attn.q`, and match as in PEFT: the whole name or its last parts, a key may be a regular expression, and the
first that matches counts. `adapter.blocks` is PEFT's `layers_to_transform`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from adaptface_jax.config.schema import AdapterConfig
from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import pattern_text, quoted, shortened
from adaptface_jax.models.adapters.patterns import MAX_PATTERNS, are_few, by_pattern, is_quick, key_of


def is_uniform(config: AdapterConfig) -> bool:
    """Whether every place has the same rank and scale."""
    return not (config.blocks or config.rank_pattern or config.alpha_pattern or first_block(config))


def first_block(config: AdapterConfig) -> int:
    """The first block that may be adapted: with a null expert none before the router, so that the frozen model can be
    left unchanged."""
    return (router_block(config.router) or 0) if config.kind == "dalora" and config.null_expert else 0


def widest(config: AdapterConfig) -> int:
    """The rank that the factors of an expert are stacked at: the largest of all places."""
    return max(config.rank, *config.rank_pattern.values(), 0)


def template(target: str) -> str:
    """The name of a target's places, `{i}` for the block."""
    return f"blocks.{{i}}.{'mlp' if target.startswith('fc') else 'attn'}.{target}"


def adapted_blocks(config: AdapterConfig, depth: int) -> list[int]:
    """The blocks with an adapter, ascending; raises InputError if `adapter.blocks` names blocks that do not exist."""
    named = sorted({block for item in config.blocks for block in _span(item, depth)})
    first = first_block(config)
    if named and named[0] < first:
        raise InputError(
            f"adapter.blocks: {named[0]} is before the router ({config.router}), and adapter.null_expert leaves the "
            f"blocks there frozen; name blocks from {first} on, or use adapter.router=frozen"
        )
    return named or list(range(first, depth))


def ranks(config: AdapterConfig, depth: int) -> dict[str, np.ndarray]:
    """Target -> int [L], each block's rank, 0 where it is not adapted."""
    found = _of_places(config, depth, config.rank_pattern, config.rank)
    return {target: np.array(values, np.int64) for target, values in found.items()}


def alphas(config: AdapterConfig, depth: int) -> dict[str, np.ndarray]:
    """Target -> float64 [L], each block's alpha, 0 where it is not adapted."""
    found = _of_places(config, depth, config.alpha_pattern, config.alpha)
    return {target: np.array(values, np.float64) for target, values in found.items()}


def scales(config: AdapterConfig, depth: int) -> dict[str, np.ndarray]:
    """Target -> float64 [L], each block's factor on B A x, 0 where it is not adapted."""
    strength = alphas(config, depth)
    return {
        target: np.array(
            [scale(strength[target][i], rank, config.use_rslora) if rank else 0 for i, rank in enumerate(of_target)]
        )
        for target, of_target in ranks(config, depth).items()
    }


def scale(alpha: float, rank: int, use_rslora: bool) -> float:
    """alpha / r, or alpha / sqrt(r) with rsLoRA (arXiv 2312.03732)."""
    return alpha / (math.sqrt(rank) if use_rslora else rank)


def words(config: AdapterConfig) -> str:
    """Ranks, targets, and what differs between places, in words."""
    text = f"rank {config.rank}{_differing(config.rank_pattern)} on {', '.join(config.targets)}"
    if config.alpha_pattern:
        text += f", alpha {config.alpha:g}{_differing(config.alpha_pattern)}"
    if first := first_block(config):
        text += f", in no block before the router's {first}"
    return text + (f", in blocks {','.join(map(str, config.blocks))}" if config.blocks else "")


def router_block(router: str) -> int | None:
    """The N of `block:N`, or None for `frozen`; raises InputError for anything else."""
    if router == "frozen":
        return None
    kind, _, number = router.partition(":")
    if kind == "block" and number.isdecimal():
        return int(number)
    raise InputError(f"adapter.router: {router!r} is not known; expected 'frozen' or 'block:N', e.g. block:2")


def router_words(config: AdapterConfig) -> str:
    """Where the router looks and at what: `block:1`, `block:1 (mean and deviation)`."""
    return config.router + (" (mean and deviation)" if config.router_input == "mean_std" else "")


def check_places(config: AdapterConfig, depth: int) -> None:
    """Raise InputError if blocks or patterns name places that do not exist, or result in a fractional rank."""
    blocks = adapted_blocks(config, depth)
    names = [template(target).replace("{i}", str(block)) for target in config.targets for block in blocks]
    for setting in ("rank_pattern", "alpha_pattern"):
        pattern: dict[str, Any] = getattr(config, setting)
        if not are_few(pattern):
            raise InputError(
                f"adapter.{setting}: more than {MAX_PATTERNS} keys are regular expressions; name the layers instead"
            )
        if slow := next((key for key in pattern if not is_quick(key)), None):
            raise InputError(
                f"adapter.{setting}: {quoted(slow)} is neither a layer's name nor a plain pattern of names; expected "
                f"such as {template(config.targets[0]).partition('{i}.')[2]} or {names[0]}"
            )
        used = {key_of(pattern, name) for name in names}
        for key in pattern:
            if key not in used:
                why = _there_are(config, blocks)
                if any(key_of([key], name) for name in names):
                    why = "comes after keys that match all of its layers; put it first"
                raise InputError(f"adapter.{setting}: {quoted(key)} {why}")
    if config.kind == "dalora":
        for key, value in config.rank_pattern.items():
            if value * config.shared_rank % config.rank:
                least = config.rank // math.gcd(config.rank, config.shared_rank)
                raise InputError(
                    f"adapter.rank_pattern: {key}={value} gives the shared expert the rank {value} x "
                    f"{config.shared_rank} / {config.rank}, which is not an integer; choose a multiple of {least}"
                )


def _there_are(config: AdapterConfig, blocks: list[int]) -> str:
    ends = ", ".join(template(target).partition("{i}.")[2] for target in config.targets)
    return f"matches no adapted layer; there are {ends} in blocks.{blocks[0]} to blocks.{blocks[-1]}"


def _of_places(
    config: AdapterConfig, depth: int, pattern: Mapping[str, float], default: float
) -> dict[str, list[float]]:
    """Target -> the value of each block, 0 where it is not adapted."""
    blocks = adapted_blocks(config, depth)

    def value(target: str, block: int) -> float:
        name = template(target).replace("{i}", str(block))
        return by_pattern(pattern, name, default) if block in blocks else 0

    return {target: [value(target, block) for block in range(depth)] for target in config.targets}


def _span(item: int | str, depth: int) -> range:
    """The blocks of `3` or `0-5`."""
    first, dash, last = str(item).partition("-")
    ends = [first, last] if dash else [first]
    if not all(end.isascii() and end.isdecimal() and len(end) < 6 for end in ends):
        raise InputError(f"adapter.blocks: {quoted(item)} is not a block; expected numbers and ranges, like 0-5,11")
    low, high = int(ends[0]), int(ends[-1])
    if not low <= high < depth:
        raise InputError(f"adapter.blocks: {item} is not one of the backbone's blocks, 0 to {depth - 1}")
    return range(low, high + 1)


def _differing(pattern: dict[str, Any]) -> str:
    return f" ({shortened(pattern_text(pattern), 160)})" if pattern else ""
