# SPDX-License-Identifier: Apache-2.0
"""Initializing a run's adapter (`adapter.init_from`): a PEFT folder's exact values in our trainable tree.

A folder is one PEFT adapter, or the output of our own DA-LoRA export:

    shared/                       a PEFT adapter for the always-active expert, if there is one
    domain_0/ domain_1/ ...       one per gated expert
    router.safetensors router.json
    head.safetensors              the embedding head, next to the adapter or the domains
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from adaptface_jax.config.schema import AdapterConfig, Config
from adaptface_jax.core.errors import InputError
from adaptface_jax.core.json_io import read_json
from adaptface_jax.core.text import shown
from adaptface_jax.models.adapters import lora, places
from adaptface_jax.models.adapters.fuse import Piece, fuse
from adaptface_jax.models.specs import BackboneSpec
from adaptface_jax.weights import hub
from adaptface_jax.weights.formats.safetensors_files import open_file
from adaptface_jax.weights.names.differences import compare_shapes, listed
from adaptface_jax.weights.peft.files import (
    ADAPTER,
    CONFIG,
    PICKLE,
    PeftAdapter,
    adapter_files,
    is_adapter,
    read_adapter,
    read_finite,
)
from adaptface_jax.weights.peft.names import covering

HEAD = "head.safetensors"
SHARED = "shared"
ROUTER = "router.safetensors"
ROUTER_JSON = "router.json"

Tree = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Start:
    """The origin of the initial values: the folder, the sha256 of everything read from it, and what that was."""

    source: str
    sha256: str
    content: str

    def identity(self) -> dict[str, str]:
        """The record of its initial values that a run stores."""
        return {"source": self.source, "sha256": self.sha256}


@dataclasses.dataclass(frozen=True)
class Expert:
    """An expert in its own folder of an export: its settings as a plain LoRA, and its columns on the rank axis."""

    settings: AdapterConfig
    columns: slice


def folders_of(adapter: AdapterConfig) -> dict[str, Expert]:
    """The folder of each expert in an export."""
    if adapter.kind != "dalora":
        return {".": Expert(adapter, slice(0, lora.width(adapter)))}
    start, wide = lora.shared(adapter), places.widest(adapter)
    folders = {SHARED: Expert(adapter.at_rank(adapter.shared_rank), slice(0, start))} if start else {}
    for k in range(lora.experts(adapter)):
        columns = slice(start + k * wide, start + (k + 1) * wide)
        folders[f"domain_{k}"] = Expert(adapter.at_rank(adapter.rank), columns)
    return folders


def start_from(config: Config, spec: BackboneSpec, trainable: Mapping[str, Any]) -> tuple[Tree, Start]:
    """The freshly initialized `trainable` with the values of `config.adapter.init_from` filled in.

    What the folder lacks keeps its fresh values: spare ranks (their B is zero), targets, router, head. The adapted
    model computes the same as the folder's. Raises InputError, one line, if that is not possible.
    """
    wanted, folder = config.adapter, folder_of(config.adapter.init_from)
    folders = adapter_folders(folder, wanted)
    adapters = [read_adapter(each, spec) for each in folders]
    _check_same_patches(folder, adapters)
    files = [file for each in folders for file in adapter_files(each)]
    result = dict(trainable)
    result["adapter"] = _factors(folders, wanted, spec, adapters, trainable["adapter"])
    notes = [f"{adapters[0].count} layers in the naming of {adapters[0].naming}"]
    if adapters[0].aside:
        notes.append(f"set aside {listed(list(adapters[0].aside))}")
    if adapters[0].base:
        notes.append(adapters[0].base)
    if len(folders) > 1:
        result["router"] = _router(folder, wanted, trainable["router"])
        files += [folder / ROUTER, folder / ROUTER_JSON]
        notes[0] = f"{len(folders)} experts of {notes[0]}, router"
    if adapters[0].patch_embed is not None or adapters[0].patch_update is not None:
        if not config.backbone.train_patch_embed:
            raise InputError(
                f"adapter.init_from: {folder} holds a trained patch embedding; set backbone.train_patch_embed=True"
            )
        fresh = trainable["backbone"]
        result["backbone"] = {**fresh, "patch_embed": _patch_embed(adapters[0], fresh["patch_embed"])}
        notes.append("patch embedding")
    if (folder / HEAD).is_file():
        head, why = _head(folder / HEAD, trainable.get("head"))
        if head is not None:
            result["head"] = head
            files.append(folder / HEAD)
        notes.append("head" if head is not None else f"its head is not used: {why}")
    return result, Start(config.adapter.init_from, _sha256(files), ", ".join(notes))


def folder_of(source: str) -> Path:
    """The folder of that name, of that file of an adapter, or of that hub id; raises InputError if there is none."""
    folder = Path(source).expanduser()
    if folder.is_file() and folder.name in (CONFIG, ADAPTER, PICKLE):
        return folder.parent
    if folder.is_dir():
        return hub.snapshot_in(folder)
    if folder.exists() or not hub.is_hub_id(source):
        raise InputError(
            f"adapter.init_from: {shown(source)} is not a folder; expected a PEFT adapter's folder or a hub id"
        )
    return hub.download_adapter(source, (CONFIG, ADAPTER, PICKLE, HEAD, ROUTER, ROUTER_JSON))


def adapter_folders(folder: Path, wanted: AdapterConfig) -> list[Path]:
    """One adapter, also in a folder within, or those of all experts in the order of `folders_of`."""
    if is_adapter(folder):
        if lora.shared(wanted):
            raise InputError(
                f"adapter.init_from: {folder} is one adapter, ambiguous between the shared and the gated experts; "
                "set adapter.shared_rank=0, or name a DA-LoRA export"
            )
        return [folder]
    count = sum(1 for path in folder.iterdir() if path.is_dir() and path.name.startswith("domain_"))
    inside = [] if count else [path for path in sorted(folder.iterdir()) if path.is_dir() and is_adapter(path)]
    if len(inside) > 1:
        names = listed([shown(path.name) for path in inside])
        raise InputError(
            f"adapter.init_from: {folder} holds {len(inside)} adapters ({names}); name one of these folders"
        )
    if inside:
        return adapter_folders(inside[0], wanted)
    if not count:
        adapter_files(folder)  # reports which file is missing
    has_shared = (folder / SHARED).is_dir()
    if wanted.kind != "dalora" or wanted.num_domains != count or has_shared != bool(lora.shared(wanted)):
        settings = f"adapter.kind=dalora adapter.num_domains={count}"
        if has_shared != bool(lora.shared(wanted)):
            rank = read_json(folder / SHARED / CONFIG).get("r") if has_shared else 0
            settings += f" adapter.shared_rank={rank}"
        raise InputError(
            f"adapter.init_from: {folder} holds {count} DA-LoRA experts{' and a shared one' if has_shared else ''}; "
            f"set {settings}, or name one of them, e.g. {folder / 'domain_0'}"
        )
    return [folder / name for name in folders_of(wanted)]


def _factors(
    folders: Sequence[Path],
    wanted: AdapterConfig,
    spec: BackboneSpec,
    adapters: Sequence[PeftAdapter],
    fresh: Mapping[str, Any],
) -> Tree:
    """The adapter tree: each expert from its own folder, or all of them from a single one."""
    if wanted.alpha == 0:
        raise InputError("adapter.alpha: 0 disables the adapter; adapter.init_from needs a positive alpha")
    result = {name: {x: np.array(leaf[x], np.float32) for x in "ab"} for name, leaf in fresh.items()}
    shapes = lora.target_shapes(spec, wanted.targets)
    for i, expert in enumerate(folders_of(wanted).values()):
        folder, adapter = folders[i % len(folders)], adapters[i % len(adapters)]
        ranks, scales = (of(expert.settings, spec.depth) for of in (places.ranks, places.scales))
        for target, blocks in by_target(folder, wanted, adapter).items():
            for block, pieces in blocks.items():
                if not ranks[target][block]:
                    raise InputError(
                        f"adapter.blocks: {','.join(map(str, wanted.blocks))} lacks block {block}, which {folder} "
                        "adapts; add it"
                    )
                a, b = fuse(pieces, shapes[target][1], scales[target][block])
                if a.shape[1] > ranks[target][block]:
                    raise _too_narrow(folder, wanted, target, block, a.shape[1], pieces)
                columns = slice(expert.columns.start, expert.columns.start + a.shape[1])
                result[target]["a"][block, :, columns] = a
                result[target]["b"][block, columns] = b
    return result


def by_target(folder: Path, wanted: AdapterConfig, adapter: PeftAdapter) -> dict[str, dict[int, list[Piece]]]:
    """The adapter's pieces by those of our targets that cover them."""
    result: dict[str, dict[int, list[Piece]]] = {}
    for layer, blocks in adapter.layers.items():
        for block, pieces in blocks.items():
            whole = layer in wanted.targets
            for piece in pieces if whole or layer != "qkv" else _thirds(pieces):
                if whole:
                    target, placed = layer, piece
                else:
                    single = next((t for t in wanted.targets if covering(t) == (layer, piece.part)), None)
                    if single is None:
                        missing = "qkv"[piece.part[0]] if layer == "qkv" else layer
                        raise InputError(
                            f"adapter.targets: {','.join(wanted.targets)} do not cover {missing}, which {folder} "
                            f"adapts; set adapter.targets={','.join((*wanted.targets, missing))}"
                        )
                    target, placed = single, piece._replace(part=(0, 1))
                result.setdefault(target, {}).setdefault(block, []).append(placed)
    return result


def _thirds(pieces: Sequence[Piece]) -> list[Piece]:
    """The parts for q, k and v of any piece that covers all three."""
    result: list[Piece] = []
    for piece in pieces:
        width = piece.b.shape[1] // 3
        cut = [piece._replace(part=(k, 3), b=piece.b[:, k * width : (k + 1) * width]) for k in range(3)]
        result += cut if piece.part == (0, 1) else [piece]
    return result


def _too_narrow(
    folder: Path, wanted: AdapterConfig, target: str, block: int, rank: int, pieces: Sequence[Piece]
) -> InputError:
    """The error that names the settings with which the folder fits, at its own scale."""
    if wanted.rank_pattern:
        name = places.template(target).replace("{i}", str(block))
        return InputError(
            f"adapter.rank_pattern: gives {name} less than its rank {rank} in {folder}; raise it, or omit "
            "adapter.rank_pattern, adapter.alpha_pattern and adapter.blocks to adopt those of the folder"
        )
    if folder.name == SHARED:
        return InputError(
            f"adapter.shared_rank: {wanted.shared_rank} is too low for {folder}, which needs rank {rank}; set "
            f"adapter.shared_rank={rank}"
        )
    alpha = max(piece.scale for piece in pieces) * (math.sqrt(rank) if wanted.use_rslora else rank)
    settings = f"adapter.rank={rank} adapter.alpha={alpha:g}"
    if target == "qkv" and all(piece.part[1] == 3 for piece in pieces):
        others = [name for name in wanted.targets if name != "qkv"]
        apart = max(piece.a.shape[1] for piece in pieces)
        apart_settings = ",".join(["qkv"[piece.part[0]] for piece in pieces] + others)
        settings = f"adapter.targets={apart_settings} adapter.rank={apart}, or {settings}"
    return InputError(
        f"adapter.rank: {wanted.rank} is too low for {target} in {folder}, which needs rank {rank}; set {settings}"
    )


def _check_same_patches(folder: Path, adapters: Sequence[PeftAdapter]) -> None:
    first = _patches(adapters[0])
    for other in map(_patches, adapters[1:]):
        if first.keys() != other.keys() or not all(np.array_equal(leaf, other[name]) for name, leaf in first.items()):
            raise InputError(f"adapter.init_from: {folder}: its experts have different patch embeddings; expected one")


def _patches(adapter: PeftAdapter) -> dict[str, np.ndarray]:
    update = {} if adapter.patch_update is None else {"update": adapter.patch_update}
    return (adapter.patch_embed or {}) | update


def _patch_embed(adapter: PeftAdapter, fresh: Mapping[str, Any]) -> Tree:
    """The adapter's own, or the backbone's with a low-rank update merged into its kernel."""
    patch = adapter.patch_embed or {name: np.asarray(leaf, np.float32) for name, leaf in fresh.items()}
    if adapter.patch_update is None:
        return patch
    return {**patch, "kernel": patch["kernel"] + adapter.patch_update}


def _router(folder: Path, wanted: AdapterConfig, fresh: Mapping[str, Any]) -> Tree:
    """Raises InputError if the router has a different input from ours, or is incomplete."""
    description = read_json(folder / ROUTER_JSON)
    for name, entry, default in (("router", "looks_at", None), ("router_input", "input_form", "mean")):
        ours, theirs = getattr(wanted, name), description.get(entry, default)
        if theirs != ours:
            raise InputError(
                f"adapter.{name}: {ours}, but the router in {folder} uses {theirs!r}; set adapter.{name} to that"
            )
    return {name: _linear(folder / ROUTER, f"{name}.", layer, tuple(fresh)) for name, layer in fresh.items()}


def _linear(path: Path, prefix: str, fresh: Mapping[str, Any], layers: Sequence[str]) -> Tree:
    """One torch Linear (weight [out, in]) among `layers` of a file that holds them and nothing else."""
    tensors = open_file(path)
    shapes = {f"{prefix}weight": tuple(fresh["kernel"].shape)[::-1], f"{prefix}bias": tuple(fresh["bias"].shape)}
    others = tuple(f"{layer}." for layer in layers if f"{layer}." != prefix)
    found = {name: shape for name, shape in tensors.shapes.items() if not others or not name.startswith(others)}
    if differences := compare_shapes(shapes, found):
        raise InputError(f"{path}: does not match this run: {differences}")
    weight, bias = (read_finite(tensors, name, path) for name in shapes)
    return {"kernel": np.ascontiguousarray(weight.T), "bias": bias}


def _head(path: Path, fresh: Mapping[str, Any] | None) -> tuple[Tree | None, str]:
    """The head, or None and why it cannot be used."""
    shapes = open_file(path).shapes
    if fresh is None:
        return None, "head.kind=none"
    wanted = tuple(fresh["kernel"].shape)[::-1]
    if set(shapes) == {"weight", "bias"} and shapes["weight"] != wanted:
        return None, f"it is {list(shapes['weight'])}, ours {list(wanted)}"
    return _linear(path, "", fresh, ()), ""


def _sha256(files: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()
