# SPDX-License-Identifier: Apache-2.0
"""The domains of the images of a face training: whether they match the experts, and how many there are."""

from __future__ import annotations

import numpy as np

from adaptface_jax.config.schema import Config
from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import plural, shown
from adaptface_jax.data.domains import ORDINARY
from adaptface_jax.data.record import Source


def unused(config: Config) -> str:
    """Which setting keeps the gates from learning the domains, "" if they do learn them."""
    if config.adapter.kind != "dalora":
        return f"adapter.kind={config.adapter.kind} has no gates"
    return "" if config.adapter.domain_loss_weight else "adapter.domain_loss_weight=0"


def check_domains(config: Config, source: Source) -> None:
    """Raise InputError if the gates should learn domains whose number is not that of the experts."""
    experts, names = config.adapter.num_domains, source.domain_names
    if source.domains is None or unused(config) or len(names) == experts:
        return
    other = "data.domains" if config.data.domains else "define other ones with data.domains"
    raise InputError(
        f"adapter.num_domains: {experts} experts, and the images have {len(names)} domains ({', '.join(names)}); "
        f"expected one expert per domain: set adapter.num_domains={len(names)}, or {other}"
    )


def domain_lines(config: Config, source: Source) -> list[str]:
    """How many images each domain has, and what is known but unused; empty if nothing is known."""
    if source.domains is None:
        if not source.label_columns:
            return []
        columns = ", ".join(map(shown, source.label_columns))
        return [f"labels    {columns}: not used, since data.domains is empty"]
    counts = source.domains.sum(axis=0, dtype=np.int64).tolist()
    each = ", ".join(f"{shown(name)} {count:,}" for name, count in zip(source.domain_names, counts, strict=True))
    held = source.domains.sum(axis=1)
    none = "unknown" if ORDINARY in source.domain_names else "in none or unknown"
    line = f"domains   {each} of {plural(len(source), 'image')}"
    line += f" ({int((held > 1).sum()):,} in several, {int((held == 0).sum()):,} {none})"
    if source.table is not None and (missing := int((~source.table.listed).sum())):
        line += f"; {plural(missing, 'image')} without a row in {source.table.place}"
    if reason := unused(config):
        line += f"; they are not used: {reason}"
    elif config.adapter.null_expert:
        line += f"; {shown(source.domain_names[-1])}, the last, keeps the frozen model (adapter.null_expert)"
    return [line]
