"""PEFT adapter folders: `adapter_config.json` and `adapter_model.safetensors`, read with every tensor accounted for.

Format: PEFT 0.21, docs/source/developer_guides/checkpoint.md. Pickled adapters are never opened.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from adaptface_jax.core.errors import InputError
from adaptface_jax.models.adapters import lora
from adaptface_jax.models.adapters.fuse import Piece
from adaptface_jax.models.specs import BackboneSpec
from adaptface_jax.weights.formats.safetensors_files import open_file
from adaptface_jax.weights.formats.tensors import Tensors
from adaptface_jax.weights.names.differences import Differences, compare_shapes
from adaptface_jax.weights.names.engine import tree_shapes
from adaptface_jax.weights.names.transforms import Shape
from adaptface_jax.weights.peft.config import PeftConfig, read_config
from adaptface_jax.weights.peft.names import LAYOUTS, PREFIXES, ROOT, Layout, Module, modules, patch_module, patch_rows

CONFIG = "adapter_config.json"
ADAPTER = "adapter_model.safetensors"
_PICKLE = "adapter_model.bin"


@dataclasses.dataclass(frozen=True)
class PeftAdapter:
    """layers: our layer (qkv, proj, fc1, fc2) -> block -> its pieces. patch_embed: ours, or None where not trained."""

    layout: Layout
    layers: Mapping[str, Mapping[int, list[Piece]]]
    patch_embed: dict[str, np.ndarray] | None

    @property
    def count(self) -> int:
        """How many layers of the PEFT model it adapts."""
        return sum(len(pieces) for blocks in self.layers.values() for pieces in blocks.values())


def is_adapter(folder: Path) -> bool:
    """Whether `folder` is meant to be one PEFT adapter."""
    return any((folder / name).exists() for name in (CONFIG, ADAPTER, _PICKLE))


def adapter_files(folder: Path) -> tuple[Path, Path]:
    """The two files of an adapter; raises InputError where one is not there."""
    for name in (CONFIG, ADAPTER):
        if not (folder / name).is_file():
            pickle = f" (only {_PICKLE}, a pickle, which is never opened)" if (folder / _PICKLE).exists() else ""
            raise InputError(f"{folder}: holds no {name}{pickle}; expected what PEFT's save_pretrained writes")
    return folder / CONFIG, folder / ADAPTER


def read_adapter(folder: Path, spec: BackboneSpec) -> PeftAdapter:
    """The LoRA in `folder` for a backbone of `spec`, in either layout, values in float32.

    Raises InputError with one report of every tensor that is missing, extra or misshapen, for settings that we have no
    form for (DoRA, biases ...), and for values that are not finite.
    """
    config, file = adapter_files(folder)
    settings, tensors = read_config(config), open_file(file)
    plans = [_Plan(spec, layout, prefix, settings) for layout in LAYOUTS for prefix in PREFIXES[spec.family]]
    compared = [(plan.compare(tensors.shapes), plan) for plan in plans if plan.adapted()]
    if not compared:
        raise InputError(
            f"{config}: target_modules {', '.join(settings.targets[:6])} are no layers of this backbone; expected some "
            f"of {', '.join(sorted({module.name.rpartition('.')[2] for module in modules(spec, 'v5')}))}"
        )
    differences, plan = min(compared, key=lambda pair: len(pair[0]))
    if differences:
        raise InputError(f"{file}: does not fit this backbone as transformers {plan.layout} names it: {differences}")
    return plan.read(tensors, file)


@dataclasses.dataclass(frozen=True)
class _Plan:
    """The tensors that an adapter must have under one naming."""

    spec: BackboneSpec
    layout: Layout
    prefix: str
    settings: PeftConfig

    def adapted(self) -> list[tuple[Module, int, str]]:
        """(module, block, its name) of every adapted layer."""
        chosen = self.settings.blocks
        return [
            (module, block, name)
            for module in modules(self.spec, self.layout)
            for block in range(self.spec.depth)
            if (chosen is None or block in chosen)
            and self.settings.adapts(name := self.prefix + module.name.replace("{i}", str(block)))
        ]

    def saved(self) -> dict[str, str]:
        """Leaf of the patch embedding -> its tensor, where modules_to_save names it."""
        if not self.settings.saves(self.prefix + patch_module(self.spec)):
            return {}
        return {leaf: ROOT + self.prefix + row.name for leaf, row in patch_rows(self.spec).items()}

    def compare(self, shapes: Mapping[str, Shape]) -> Differences:
        expected: dict[str, Shape] = {}
        for module, _, name in self.adapted():
            din, dout = lora.target_shapes(self.spec, [module.layer])[module.layer]
            rank = self.settings.rank_of(name)
            expected[f"{ROOT}{name}.lora_A.weight"] = (rank, din)
            expected[f"{ROOT}{name}.lora_B.weight"] = (dout // module.part[1], rank)
        for leaf, name in self.saved().items():
            expected[name] = patch_rows(self.spec)[leaf].transform.shape(self._leaf_shape(leaf))
        return compare_shapes(expected, shapes)

    def read(self, tensors: Tensors, file: Path) -> PeftAdapter:
        layers: dict[str, dict[int, list[Piece]]] = {}
        for module, block, name in self.adapted():
            a, b = (read_finite(tensors, f"{ROOT}{name}.lora_{x}.weight", file).T for x in "AB")
            piece = Piece(module.part, a, b, self.settings.scale_of(name))
            layers.setdefault(module.layer, {}).setdefault(block, []).append(piece)
        patch = {
            leaf: patch_rows(self.spec)[leaf].transform.inward(read_finite(tensors, name, file), self._leaf_shape(leaf))
            for leaf, name in self.saved().items()
        }
        return PeftAdapter(self.layout, layers, patch or None)

    def _leaf_shape(self, leaf: str) -> Shape:
        return tree_shapes(self.spec)[f"patch_embed/{leaf}"]


def read_finite(tensors: Tensors, name: str, file: Path) -> np.ndarray:
    """One tensor in float32; raises InputError where it holds NaN or infinity."""
    value = np.asarray(tensors[name], np.float32)
    if not np.isfinite(value).all():
        raise InputError(f"{file}: {name} holds NaN or infinity; save the adapter again")
    return value
