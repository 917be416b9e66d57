# SPDX-License-Identifier: Apache-2.0
"""Which tensors of an adapter belong to the vision tower, whatever its naming and prefix."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from adaptface_jax.models.specs import BackboneSpec
from adaptface_jax.weights.names.tables import Table, pattern
from adaptface_jax.weights.names.wrappers import is_averaged
from adaptface_jax.weights.peft.names import Module, modules_of, patch_rows_of, tables

_FACTOR = re.compile(r"(?P<module>.+)\.lora_(?P<factor>[AB])(?:\.[^.]+)?\.weight")
_WRAPPED = ".base_layer"
_VISION = re.compile(r"(?:^|[._])(?:visual|vision|image|vit|trunk)(?:[._]|$)")
_TEXT = re.compile(r"(?:^|[._])(?:text|language)(?:[._]|$)")


class Layer(NamedTuple):
    """An adapted layer of the tower: its place, its full name and the tensors A and B ("" if missing).

    target: the module that the adapter's settings name: PEFT adapts torch's attention with its output projection.
    """

    module: Module
    block: int
    name: str
    target: str
    a: str
    b: str


@dataclasses.dataclass(frozen=True)
class Tower:
    """The adapted layers in the naming of `table`, each after `prefix`. patch: A and B of the patch embedding."""

    table: Table
    prefix: str
    layers: tuple[Layer, ...]
    patch: tuple[str, str] | None

    @property
    def is_text(self) -> bool:
        """Whether the prefix names a text tower."""
        return _TEXT.search(self.prefix) is not None


def factors(names: Iterable[str]) -> dict[str, dict[str, str]]:
    """Module -> A or B -> tensor. A wrapped parameter's own module (`base_layer`) is not part of a name."""
    found: dict[str, dict[str, str]] = {}
    for name in names:
        if match := _FACTOR.fullmatch(name):
            found.setdefault(match["module"].replace(_WRAPPED, ""), {})[match["factor"]] = name
    return found


def bare_module(name: str) -> str:
    """The module of a tensor in an adapter: a low-rank factor's, or its own."""
    match = _FACTOR.fullmatch(name)
    return (match["module"] if match else name.rpartition(".")[0]).replace(_WRAPPED, "")


def find_tower(names: Iterable[str], spec: BackboneSpec) -> Tower | None:
    """The vision tower that an adapter changes; of several, the one so named, then the one with the most layers."""
    adapted = factors(names)
    towers = [tower for table in tables(spec) for tower in _towers(table, spec, adapted)]

    def rank(tower: Tower) -> tuple[bool, bool, bool, int]:
        says_vision = _VISION.search(tower.prefix) is not None
        return says_vision, not tower.is_text, is_averaged(tower.prefix), len(tower.layers)

    return max(towers, key=rank, default=None)


def _towers(table: Table, spec: BackboneSpec, adapted: Mapping[str, Mapping[str, str]]) -> list[Tower]:
    """One tower per prefix, its layers in the order of the table."""
    known: dict[str, tuple[int, Module]] = {}
    for i, module in enumerate(modules_of(table, spec)):
        known[module.name.replace("{c}", "#").replace("{i}", "#")] = (i, module)
    lengths = {text.count(".") + 1 for text in known}
    found: dict[str, list[tuple[int, Layer]]] = {}
    for name, tensors in adapted.items():
        parts, (text, block) = name.split("."), pattern(name)
        ends = (".".join(text.split(".")[-length:]) for length in lengths if length <= len(parts))
        end = next((end for end in ends if end in known), None)
        if end is not None and block is not None:
            i, module = known[end]
            prefix = ".".join(parts[: len(parts) - end.count(".") - 1])
            a, b = tensors.get("A", ""), tensors.get("B", "")
            target = (a or b).partition(f"{_WRAPPED}.")[0] if f"{_WRAPPED}." in (a or b) else name
            layer = Layer(module, block, name, target, a, b)
            found.setdefault(f"{prefix}." if prefix else "", []).append((i, layer))
    patch = patch_rows_of(table)["kernel"].name.removesuffix(".weight")
    towers = []
    for prefix, layers in found.items():
        layers.sort(key=lambda item: (item[0], item[1].block))
        cut = adapted.get(prefix + patch)
        both = None if cut is None else (cut.get("A", ""), cut.get("B", ""))
        towers.append(Tower(table, prefix, tuple(layer for _, layer in layers), both))
    return towers
