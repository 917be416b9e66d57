# SPDX-License-Identifier: Apache-2.0
"""What the name of an adapter's base model says: adapters of another model may have the same names and shapes."""

from __future__ import annotations

import re

from adaptface_jax.core.text import shown
from adaptface_jax.models.specs import BackboneSpec

_FAMILIES = ("siglip", "clip", "dinov2", "dinov3")
_PATCH = re.compile(r"patch_?(\d{1,2})(?!\d)|vit-?(?:[a-z]{1,4}|\d{1,2}b)-?(\d{2})(?!\d)")
_REGISTERS = re.compile(r"registers|_reg(?:4|_|$)")


def trained_on(base: str, spec: BackboneSpec) -> str:
    """The base model, to be displayed, with what contradicts `spec` in its name.

    >>> from adaptface_jax.models.specs import BACKBONES
    >>> trained_on("openai/clip-vit-base-patch16", BACKBONES["clip_vitb32"])
    'trained on openai/clip-vit-base-patch16, another model by its name: patch size 16, here 32'
    """
    name = base.rstrip("/").rpartition("/")[2].lower()
    family = next((family for family in _FAMILIES if family in name), None)
    facts: list[tuple[str, object, object]] = [("family", family, spec.family)]
    if found := _PATCH.search(name):
        facts.append(("patch size", int(found[1] or found[2]), spec.patch_size))
    if family == "dinov2":
        facts.append(("registers", 4 if _REGISTERS.search(name) else 0, spec.registers))
    others = [f"{what} {theirs}, here {ours}" for what, theirs, ours in facts if theirs not in (None, ours)]
    return f"trained on {shown(base[:200])}" + (f", another model by its name: {'; '.join(others)}" if others else "")
