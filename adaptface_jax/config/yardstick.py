"""What a DA-LoRA has to beat: the plain LoRA of its own size."""

from __future__ import annotations

import dataclasses

from adaptface_jax.config.schema import AdapterConfig, Config

# Settings of an adapter that a plain LoRA has no use for.
GATED = ("num_domains", "shared_rank", "router", "balance_weight", "domain_loss_weight")


def plain_adapter(adapter: AdapterConfig) -> AdapterConfig | None:
    """The LoRA of all of its ranks, its update scaled as each expert's; None for anything but a DA-LoRA."""
    if adapter.kind != "dalora":
        return None
    rank = adapter.shared_rank + adapter.num_domains * adapter.rank
    return dataclasses.replace(adapter, kind="lora", rank=rank, alpha=adapter.alpha_at(rank))


def typed(adapter: AdapterConfig) -> dict[str, str]:
    """The settings that make a DA-LoRA's plain adapter of it, as they are typed."""
    return {f"adapter.{name}": f"{getattr(adapter, name):{form}}" for name, form in _CHANGED.items()}


_CHANGED = {"kind": "", "rank": "d", "alpha": "g"}


def is_yardstick(config: Config, gated: Config) -> bool:
    """Whether `config` is what the DA-LoRA `gated` has to beat: all else is the same, the seed too."""
    plain = plain_adapter(gated.adapter)
    if plain is None:
        return False
    ungated = {name: getattr(plain, name) for name in GATED}
    own = dataclasses.replace(config.adapter, **ungated)
    return dataclasses.replace(config, adapter=own) == dataclasses.replace(gated, adapter=plain)
