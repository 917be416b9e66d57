# SPDX-License-Identifier: Apache-2.0
"""PEFT adapter folders: `adapter_config.json` and the tensors, every one of which is accounted for.

Format: PEFT 0.21, docs/source/developer_guides/checkpoint.md. A pickled adapter is read as a torch archive, and nothing
in it is executed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import shown
from adaptface_jax.models.adapters import lora
from adaptface_jax.models.adapters.fuse import Piece
from adaptface_jax.models.specs import BackboneSpec
from adaptface_jax.weights.formats.reader import open_file
from adaptface_jax.weights.formats.tensors import Tensors
from adaptface_jax.weights.names.differences import Differences, compare_shapes, listed
from adaptface_jax.weights.names.engine import tree_shapes
from adaptface_jax.weights.names.tables import pattern
from adaptface_jax.weights.names.transforms import Shape
from adaptface_jax.weights.names.wrappers import folded, is_head
from adaptface_jax.weights.peft.base_name import trained_on
from adaptface_jax.weights.peft.config import PeftConfig, read_config
from adaptface_jax.weights.peft.names import ROOT, modules_of, naming, patch_rows_of, pool_modules
from adaptface_jax.weights.peft.tower import Tower, bare_module, find_tower

CONFIG = "adapter_config.json"
ADAPTER = "adapter_model.safetensors"
PICKLE = "adapter_model.bin"  # PEFT before 0.7


@dataclasses.dataclass(frozen=True)
class PeftAdapter:
    """layers: our layer (qkv, proj, fc1, fc2) -> block -> its pieces.

    naming: the naming of its layers. patch_embed: our leaves, or None if not fully trained. patch_update: an addition
    to our kernel, or None. aside: what was set aside, to be displayed. base: what it was trained on, to be displayed.
    """

    naming: str
    layers: Mapping[str, Mapping[int, list[Piece]]]
    patch_embed: dict[str, np.ndarray] | None
    patch_update: np.ndarray | None
    aside: tuple[str, ...]
    base: str

    @property
    def count(self) -> int:
        """The number of adapted layers in the PEFT model."""
        return sum(len(pieces) for blocks in self.layers.values() for pieces in blocks.values())


def is_adapter(folder: Path) -> bool:
    """Whether `folder` is meant to be a single PEFT adapter."""
    return any((folder / name).exists() for name in (CONFIG, ADAPTER, PICKLE))


def adapter_files(folder: Path) -> tuple[Path, Path]:
    """The two files of an adapter; raises InputError if one is missing."""
    tensors = next((name for name in (ADAPTER, PICKLE) if (folder / name).is_file()), ADAPTER)
    for name in (CONFIG, tensors):
        if not (folder / name).is_file():
            held = sorted(shown(entry.name) for entry in folder.iterdir()) if folder.is_dir() else []
            raise InputError(
                f"{folder}: has no {name} (but {listed(held) or 'nothing'}); expected the output of PEFT's "
                "save_pretrained"
            )
    return folder / CONFIG, folder / tensors


def read_adapter(folder: Path, spec: BackboneSpec) -> PeftAdapter:
    """The LoRA in `folder` on the vision tower of `spec`, in any naming, values in float32.

    Everything outside the tower (a classifier, a text tower) is set aside. Raises InputError with one report of all
    tensors that are missing, extra or of the wrong shape, for unsupported settings (DoRA, biases ...), and for
    non-finite values.
    """
    config, file = adapter_files(folder)
    settings, tensors = read_config(config), open_file(file)
    tower = find_tower(tensors, spec)
    if tower is None or tower.is_text:
        found = folded(list(tensors), "")[:3] if tower is None else [f"{tower.prefix}*"]
        raise InputError(
            f"{file}: adapts no layer of a vision tower in the naming of transformers, timm or open_clip, but "
            f"{', '.join(found)}; expected an adapter of this backbone"
        )
    if (deepest := max(layer.block for layer in tower.layers)) >= spec.depth:
        raise InputError(
            f"{file}: adapts block {deepest}, but this backbone has blocks 0 to {spec.depth - 1}; expected an adapter "
            "of this backbone"
        )
    plan = _Plan(spec, tower, settings)
    shapes = plan.within(tensors.shapes)
    if differences := plan.compare(shapes):
        more = differences.extra and not differences.missing and not differences.misshapen
        advice = f"; what it changes besides the layers of the blocks is not read: {settings.merging}" if more else ""
        raise InputError(
            f"{file}: does not match this backbone in the naming of {naming(tower.table)}: {differences}{advice}"
        )
    aside = [name for name in tensors if name not in shapes]
    projection = [name for name in aside if plan.is_projection(name, tensors.shapes[name])]
    if projection and spec.projection is not None:
        raise InputError(
            f"{file}: adapts CLIP's projection ({projection[0]}), which is not supported; set "
            "backbone.feature=cls to set it aside"
        )
    return plan.read(tensors, file, aside)


@dataclasses.dataclass(frozen=True)
class _Plan:
    """The expected tensors of an adapted tower."""

    spec: BackboneSpec
    tower: Tower
    settings: PeftConfig

    def within(self, shapes: Mapping[str, Shape]) -> dict[str, Shape]:
        """The tensors to account for: those of the tower, and those that belong to no model."""
        prefix = self.tower.prefix
        root = ROOT if prefix.startswith(ROOT) else ""
        return {
            name: shape
            for name, shape in shapes.items()
            if not name.startswith(root)
            or (name.startswith(prefix) and not self._is_outside(name.removeprefix(prefix)))
        }

    def _is_outside(self, name: str) -> bool:
        """Whether a name is of a head, or of a fully trained module that no tower has."""
        if bare_module(name) in pool_modules(self.tower.table):
            return False  # SigLIP's pooling is called a head, and gives the feature
        module = name.rpartition(".")[0]
        return is_head(name) or (self.settings.saves(module) and not self.tower.table.rows_of(pattern(name), name))

    def is_projection(self, name: str, shape: Shape) -> bool:
        """Whether a tensor changes CLIP's projection, which may lie outside the tower, and be called a head (timm)."""
        if "visual_projection." in name or "visual.head.proj." in name or name.endswith("visual.proj"):
            return True
        rows = (row.name for row in self.tower.table.rows if row.path == "projection/kernel")
        modules = [self.tower.prefix + row.removesuffix(".weight") for row in rows]
        return bare_module(name) in modules and shape[:1] == (self.spec.projection,)

    def compare(self, shapes: Mapping[str, Shape]) -> Differences:
        expected: dict[str, Shape] = {}
        for layer in self.tower.layers:
            din, dout = lora.target_shapes(self.spec, [layer.module.layer])[layer.module.layer]
            rank, name = self.settings.rank_of(self._bare(layer.target)), layer.name
            if self._is_target(layer.target, layer.block):
                expected[layer.a or f"{name}.lora_A.weight"] = (rank, din)
                expected[layer.b or f"{name}.lora_B.weight"] = (dout // layer.module.part[1], rank)
        for name in self._absent():
            expected |= {f"{name}.lora_A.weight": (), f"{name}.lora_B.weight": ()}
        if self.tower.patch is not None:
            width, channels, side, _ = self._patch_shape("kernel")
            rank = self.settings.rank_of(self._bare(self._patch_module()))
            shapes_ = ((rank, channels, side, side), (width, rank, 1, 1))
            for factor, given, shape in zip("AB", self.tower.patch, shapes_, strict=True):
                expected[given or f"{self._patch_module()}.lora_{factor}.weight"] = shape
        for leaf, name in self._saved(shapes).items():
            expected[name] = self._patch_shape(leaf)
        return compare_shapes(expected, shapes)

    def read(self, tensors: Tensors, file: Path, aside: list[str]) -> PeftAdapter:
        layers: dict[str, dict[int, list[Piece]]] = {}
        for layer in self.tower.layers:
            a, b = (read_finite(tensors, name, file).T for name in (layer.a, layer.b))
            piece = Piece(layer.module.part, a, b, self.settings.scale_of(self._bare(layer.target)))
            layers.setdefault(layer.module.layer, {}).setdefault(layer.block, []).append(piece)
        rows = patch_rows_of(self.tower.table)
        patch = {
            leaf: rows[leaf].transform.inward(read_finite(tensors, name, file), self._leaf_shape(leaf))
            for leaf, name in self._saved(tensors.shapes).items()
        }
        update = None
        if self.tower.patch is not None:
            a, b = (read_finite(tensors, name, file) for name in self.tower.patch)
            kernel = np.tensordot(b[:, :, 0, 0], a, 1) * self.settings.scale_of(self._bare(self._patch_module()))
            update = rows["kernel"].transform.inward(kernel, self._leaf_shape("kernel"))
        words = tuple(folded(aside, self.tower.prefix))
        base = trained_on(self.settings.base, self.spec) if self.settings.base else ""
        return PeftAdapter(naming(self.tower.table), layers, patch or None, update, words, base)

    def _is_target(self, name: str, block: int) -> bool:
        return self.settings.targets is None or self.settings.must_adapt(self._bare(name), block)

    def _absent(self) -> list[str]:
        """Listed targets that have no tensors."""
        have = {layer.name for layer in self.tower.layers}
        names = (
            (self.tower.prefix + module.name.replace("{i}", str(block)), block)
            for module in modules_of(self.tower.table, self.spec)
            for block in range(self.spec.depth)
            if "{c}" not in module.name
        )
        return [name for name, block in names if name not in have and self.settings.must_adapt(self._bare(name), block)]

    def _saved(self, shapes: Mapping[str, Shape]) -> dict[str, str]:
        """Leaf of the patch embedding -> its tensor, if it exists or modules_to_save names it."""
        module = self._patch_module()
        names = {leaf: self.tower.prefix + row.name for leaf, row in patch_rows_of(self.tower.table).items()}
        saved = self.settings.saves(self._bare(module)) or any(name in shapes for name in names.values())
        return names if saved else {}

    def _bare(self, name: str) -> str:
        """The name of a module in PEFT's settings."""
        return name.removeprefix(ROOT)

    def _patch_module(self) -> str:
        return self.tower.prefix + patch_rows_of(self.tower.table)["kernel"].name.removesuffix(".weight")

    def _patch_shape(self, leaf: str) -> Shape:
        return patch_rows_of(self.tower.table)[leaf].transform.shape(self._leaf_shape(leaf))

    def _leaf_shape(self, leaf: str) -> Shape:
        return tree_shapes(self.spec)[f"patch_embed/{leaf}"]


def read_finite(tensors: Tensors, name: str, file: Path) -> np.ndarray:
    """One tensor in float32; raises InputError if it contains NaN or infinity."""
    with np.errstate(over="ignore"):  # beyond float32 is infinity
        value = np.asarray(tensors[name], np.float32)
    if not np.isfinite(value).all():
        raise InputError(f"{file}: {name} contains NaN or infinity; save the adapter again")
    return value
