"""Files' names <-> our tree, through a name table in which every name is matched exactly once on both sides."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from adaptface_jax.core import trees
from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import shown
from adaptface_jax.models import vit
from adaptface_jax.models.specs import BACKBONES, BackboneSpec
from adaptface_jax.weights.names.dialects import TABLES
from adaptface_jax.weights.names.differences import Differences, listed, misshapen
from adaptface_jax.weights.names.tables import Pattern, Row, Table, pattern
from adaptface_jax.weights.names.transforms import Shape


class Slot(NamedTuple):
    """A place that one tensor fills: a leaf, its block (None: the whole leaf), and its slice of the last axis."""

    path: str
    block: int | None
    part: tuple[int, int]


@dataclasses.dataclass(frozen=True)
class Fit:
    """A file that a table fits: `places` says which name, read by which row, fills each slot of `spec`'s tree.

    spec is the known row of `name`, at the grid of the file's positions, without its projection where the file has
    none. dropped: known, and of no use.
    zeros: those of the dropped ones that must hold zeros.
    """

    name: str
    spec: BackboneSpec
    table: Table
    places: Mapping[Slot, tuple[str, Row]]
    dropped: tuple[str, ...]
    zeros: tuple[str, ...]


def match(table: Table, name: str, shapes: Mapping[str, Shape], where: object = "weights") -> Fit:
    """Fits the names and shapes of the file `where` to the backbone `name`.

    Raises InputError with one report of every name that is missing, extra or misshapen.
    """
    fit, differences = _compare(table, name, _parse(table, _patterns(shapes)), shapes)
    if differences:
        raise InputError(f"{where}: does not fit {table.name} as {name}: {differences}")
    return fit


def identify(shapes: Mapping[str, Shape], where: object = "weights") -> Fit:
    """The table and the known backbone that fit the file `where` exactly.

    Raises InputError naming the nearest pair and all that differs.
    """
    patterns = _patterns(shapes)
    parsed = [(table, _parse(table, patterns)) for table in TABLES]
    for table, rows in parsed:
        if len(rows) == len(shapes):
            for name in _candidates(table, rows, shapes):
                fit, differences = _compare(table, name, rows, shapes)
                if not differences:
                    return fit
    placed = {table.name: sum(rows[0].path is not None for rows, _ in found.values()) for table, found in parsed}
    most = max(placed.values())
    if most == 0:
        raise InputError(
            f"{where}: none of its {len(shapes)} tensor names is known ({listed([shown(name) for name in shapes])}); "
            "expected DINOv2 or a CLIP vision tower as Hugging Face, timm, open_clip or their authors publish them"
        )
    compared = [
        _compare(table, name, rows, shapes)
        for table, rows in parsed
        if placed[table.name] == most
        for name, spec in BACKBONES.items()
        if spec.family == table.family
    ]
    fit, differences = min(compared, key=_distance)
    raise InputError(f"{where}: fits no known layout; the nearest is {fit.table.name} as {fit.name}: {differences}")


def to_tree(fit: Fit, tensors: Mapping[str, np.ndarray], where: object = "weights") -> dict[str, Any]:
    """Our parameter tree in float32, at the native grid; reads each tensor once, and holds one at a time.

    Raises InputError naming the first tensor of `where` that holds NaN or infinity, or has to be zero and is not.
    """
    for name in fit.zeros:
        if np.any(tensors[name] != 0):
            raise InputError(
                f"{where}: {shown(name)} is not zero; a CLIP projection has no bias, so this is a head trained for "
                "something else: remove it with its weight, or take the original weights"
            )
    leaves: dict[str, np.ndarray] = {}
    for slot, (name, row) in fit.places.items():
        shape = tree_shapes(fit.spec)[slot.path]
        tensor = tensors[name]
        if not np.isfinite(tensor).all():
            raise InputError(f"{where}: {shown(name)} holds NaN or infinity; download the file again")
        tensor = row.transform.inward(tensor, _slice_shape(slot, shape))
        if slot.block is None and slot.part[1] == 1:
            leaves[slot.path] = np.ascontiguousarray(tensor, np.float32)
            continue
        if slot.path not in leaves:
            leaves[slot.path] = np.empty(shape, np.float32)
        _view(leaves[slot.path], slot)[...] = tensor
    return trees.unflatten(leaves)


def to_names(table: Table, spec: BackboneSpec, tree: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The tree as `table` names it, each tensor contiguous: the inverse of `to_tree`, bit for bit.

    Tensors that the dialect has and we do not (mask tokens) are zeros.
    """
    leaves = {path: np.asarray(leaf) for path, leaf in trees.flatten(tree).items()}
    if table.folded and spec.registers:
        leaves |= _folded(leaves["cls_token"], leaves["pos_embed"])
    named = {
        slot_name: np.ascontiguousarray(row.transform.outward(_view(leaves[slot.path], slot)))
        for slot, (slot_name, row) in _expected(table, spec).items()
        if slot.path in leaves
    }
    dtype = leaves["cls_token"].dtype
    return named | {row.name: np.zeros(shape, dtype) for row, shape in _unplaced(table, spec)}


def tree_table(spec: BackboneSpec) -> Table:
    """The layout of a converted folder: our own paths, whole leaves."""
    rows = tuple(Row(path, path, optional=path.startswith("projection/")) for path in tree_shapes(spec))
    return Table("a converted folder", spec.family, "ours", rows, "", "", None)


@functools.cache
def tree_shapes(spec: BackboneSpec) -> dict[str, Shape]:
    """Path -> shape of every leaf at the native size."""
    return {path: leaf.shape for path, leaf in trees.flatten(vit.definition(spec, spec.native_size)[1]).items()}


_Parsed = dict[str, tuple[tuple[Row, ...], int | None]]


def _patterns(shapes: Mapping[str, Shape]) -> dict[str, Pattern]:
    return {name: pattern(name) for name in shapes}


def _parse(table: Table, patterns: Mapping[str, Pattern]) -> _Parsed:
    """The rows and the block's number of each name that some row of the table matches."""
    found = ((name, table.rows_of(text, name), text.block) for name, text in patterns.items())
    return {name: (rows, block) for name, rows, block in found if rows}


def _candidates(table: Table, parsed: _Parsed, shapes: Mapping[str, Shape]) -> list[str]:
    """The known backbones whose depth and width the file has: the shapes of all are slow to work out."""
    blocks: set[int | None] = set()
    widths: set[int] = set()
    for name, (rows, block) in parsed.items():
        if "{i}" in rows[0].name:
            blocks.add(block)
        elif rows[0].path == "cls_token":
            widths.add(shapes[name][-1] if shapes[name] else 0)
    return [
        name
        for name, spec in BACKBONES.items()
        if spec.family == table.family and spec.width in widths and spec.depth == len(blocks)
    ]


def _expected(table: Table, spec: BackboneSpec) -> dict[Slot, tuple[str, Row]]:
    """Every slot of the tree with the name that fills it."""
    slots: dict[Slot, tuple[str, Row]] = {}
    for row in table.rows:
        if row.path is not None and _applies(row, spec):
            for block in range(spec.depth) if "{i}" in row.name else (None,):
                slots[Slot(row.path, block, row.part)] = row.numbered(block, spec.depth), row
    return slots


def _unplaced(table: Table, spec: BackboneSpec) -> list[tuple[Row, Shape]]:
    """The rows of what files of this backbone hold and our tree does not."""
    return [(row, row.zeros(spec)) for row in table.rows if row.zeros is not None and _applies(row, spec)]


def _applies(row: Row, spec: BackboneSpec) -> bool:
    return row.holds(spec) and (row.path is None or row.path in tree_shapes(spec))


def _compare(table: Table, name: str, parsed: _Parsed, shapes: Mapping[str, Shape]) -> tuple[Fit, Differences]:
    spec = _at_its_grid(BACKBONES[name], parsed, shapes)
    expected, unplaced = _expected(table, spec), dict(_unplaced(table, spec))
    places: dict[Slot, tuple[str, Row]] = {}
    dropped: dict[str, Row] = {}
    differences = Differences([], [], [])
    for tensor, shape in shapes.items():
        rows, block = parsed.get(tensor, ((), None))
        row = next((row for row in rows if _applies(row, spec)), None)
        slot = None if row is None or row.path is None else Slot(row.path, block, row.part)
        if row is None or (slot is not None and (slot not in expected or slot in places)):
            differences.extra.append(f"{shown(tensor)} {list(shape)}")
            continue
        if slot is None:
            dropped[tensor] = row
            wanted = unplaced.get(row, shape)
        else:
            places[slot] = (tensor, row)
            wanted = _file_shape(row, slot, spec)
        if tuple(shape) != tuple(wanted):
            differences.misshapen.append(misshapen(tensor, tuple(shape), wanted))
    unfilled = {slot: place for slot, place in expected.items() if slot not in places}
    differences.missing.extend(tensor for tensor, row in unfilled.values() if not row.optional)
    differences.missing.extend(row.name for row in unplaced if not row.optional and row.name not in dropped)
    if any(slot.path.startswith("projection/") for slot in unfilled):
        spec = dataclasses.replace(spec, projection=None)
    zeros = tuple(tensor for tensor, row in dropped.items() if row.is_zero)
    return Fit(name, spec, table, places, tuple(dropped), zeros), differences


def _at_its_grid(spec: BackboneSpec, parsed: _Parsed, shapes: Mapping[str, Shape]) -> BackboneSpec:
    """`spec` with the native size that the file's positions have: weights are tuned and saved at other sizes too."""
    for tensor, (rows, _) in parsed.items():
        row = next((row for row in rows if row.path == "pos_embed" and _applies(row, spec)), None)
        if row is not None:
            shape, wanted = shapes[tensor], _file_shape(row, Slot("pos_embed", None, row.part), spec)
            if len(shape) == len(wanted) and (*shape[:-2], shape[-1]) == (*wanted[:-2], wanted[-1]):
                beside = wanted[-2] - spec.native_grid**2  # the position of CLS, where the file has it here
                grid = math.isqrt(max(shape[-2] - beside, 0))
                if grid and grid * grid + beside == shape[-2]:
                    return dataclasses.replace(spec, native_size=grid * spec.patch_size)
    return spec


def _distance(compared: tuple[Fit, Differences]) -> tuple[int, int, int]:
    """Small where most names are placed in their right shapes, then most names at all, then least differs."""
    fit, differences = compared
    return len(differences.misshapen) - len(fit.places), -len(fit.places), len(differences)


def _folded(cls_token: np.ndarray, pos_embed: np.ndarray) -> dict[str, np.ndarray]:
    """The position of CLS added to it; nothing is added to what has been folded before, not even to -0.0."""
    position = pos_embed[:, :1]
    unplaced = pos_embed.copy()
    unplaced[:, :1] = 0
    return {"cls_token": np.where(position == 0, cls_token, cls_token + position), "pos_embed": unplaced}


def _slice_shape(slot: Slot, shape: Shape) -> Shape:
    inner = shape if slot.block is None else shape[1:]
    return (*inner[:-1], inner[-1] // slot.part[1])


def _file_shape(row: Row, slot: Slot, spec: BackboneSpec) -> Shape:
    return row.transform.shape(_slice_shape(slot, tree_shapes(spec)[slot.path]))


def _view(leaf: np.ndarray, slot: Slot) -> np.ndarray:
    inner = leaf if slot.block is None else leaf[slot.block]
    width = inner.shape[-1] // slot.part[1]
    return inner[..., slot.part[0] * width : (slot.part[0] + 1) * width]
