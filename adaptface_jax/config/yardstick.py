# SPDX-License-Identifier: Apache-2.0
"""What a DA-LoRA has to beat: the plain LoRA of the same size."""

from __future__ import annotations

import dataclasses

from adaptface_jax.config.schema import AdapterConfig, Config
from adaptface_jax.core.text import pattern_text

# Adapter settings that a plain LoRA does not use.
GATED = (
    "num_domains", "null_expert", "null_weight", "gate", "shared_rank", "router", "router_input", "balance_weight",
    "domain_loss_weight",
)  # fmt: skip


def plain_adapter(adapter: AdapterConfig) -> AdapterConfig | None:
    """The LoRA with the sum of its ranks, its update scaled like each expert's; None for anything but a DA-LoRA."""
    if adapter.kind != "dalora":
        return None
    return adapter.at_rank(adapter.shared_rank + (adapter.num_domains - adapter.null_expert) * adapter.rank)


def typed(adapter: AdapterConfig) -> dict[str, str]:
    """The settings that turn a DA-LoRA into its plain adapter, as they are typed."""
    typed = {"kind": adapter.kind, "rank": str(adapter.rank), "alpha": f"{adapter.alpha:g}"}
    if adapter.rank_pattern:
        typed["rank_pattern"] = pattern_text(adapter.rank_pattern)
    if adapter.alpha_pattern:
        typed["alpha_pattern"] = pattern_text(adapter.alpha_pattern)
    return {f"adapter.{name}": text for name, text in typed.items()}


def is_yardstick(config: Config, gated: Config) -> bool:
    """Whether `config` is what the DA-LoRA `gated` has to beat: everything else is the same, including the seed."""
    plain = plain_adapter(gated.adapter)
    if plain is None:
        return False
    ungated = {name: getattr(plain, name) for name in GATED}
    own = dataclasses.replace(config.adapter, **ungated)
    return dataclasses.replace(config, adapter=own) == dataclasses.replace(gated, adapter=plain)
