"""What a DA-LoRA has to beat: the plain LoRA of its own size."""

from __future__ import annotations

import math

from adaptface_jax.config.schema import Config

# Settings that a plain LoRA has no use for.
GATED = ("adapter.num_domains", "adapter.router", "adapter.balance_weight", "adapter.domain_loss_weight")


def lora_of_own_size(config: Config) -> dict[str, str]:
    """The settings, as they are typed, that make a plain LoRA of a DA-LoRA: rank K r, the update scaled as each expert's.

    Empty for anything but a DA-LoRA.
    """
    adapter = config.adapter
    if adapter.kind != "dalora":
        return {}
    more = math.sqrt(adapter.num_domains) if adapter.use_rslora else adapter.num_domains
    return {
        "adapter.kind": "lora",
        "adapter.rank": str(adapter.num_domains * adapter.rank),
        "adapter.alpha": f"{adapter.alpha * more:g}",
    }
