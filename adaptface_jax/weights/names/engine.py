# SPDX-License-Identifier: Apache-2.0
"""Names in files <-> our tree, through a name table in which every name is matched exactly once on both sides."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

import numpy as np

from adaptface_jax.core import trees
from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import shown
from adaptface_jax.models import vit
from adaptface_jax.models.specs import BACKBONES, BackboneSpec
from adaptface_jax.weights.names import wrappers
from adaptface_jax.weights.names.dialects import TABLES
from adaptface_jax.weights.names.differences import SHOWN, Differences, listed, misshapen
from adaptface_jax.weights.names.others import recognize
from adaptface_jax.weights.names.tables import Part, Row, Table, pattern, slice_of
from adaptface_jax.weights.names.transforms import Shape

KNOWN = "DINOv2, DINOv3, a vision tower of CLIP or SigLIP, or a face ViT of InsightFace or CVLface"
LAST = "norm/scale"  # the leaf that every tower has, of shape [D]
MAX_TOWERS = 16  # prefixes per table that are tried


class Slot(NamedTuple):
    """The place that one tensor fills: a leaf, its block (None: the entire leaf), and its slice of the last axis."""

    path: str
    block: int | None
    part: Part


@dataclasses.dataclass(frozen=True)
class Fit:
    """A file that a table matches: `places` maps each slot of `spec`'s tree to the name and the row that fill it.

    spec is the known row of `name`, at the grid of the file's positions, without its projection if the file has none.
    prefix: precedes every name of the tower. dropped: what is set aside: known but unused tensors, heads, and
    everything outside the prefix. zeros: those of the dropped tensors that must be zero.
    """

    name: str
    spec: BackboneSpec
    table: Table
    prefix: str
    places: Mapping[Slot, tuple[str, Row]]
    dropped: tuple[str, ...]
    zeros: tuple[str, ...]

    @property
    def naming(self) -> str:
        """The table, and the prefix if there is one, to be displayed."""
        return f"{self.table.name} under {shown(self.prefix)}" if self.prefix else self.table.name

    @property
    def aside(self) -> list[str]:
        """What was set aside, by module."""
        return wrappers.folded(self.dropped, self.prefix)


def match(table: Table, name: str, shapes: Mapping[str, Shape], where: object = "weights") -> Fit:
    """Matches the names and shapes in the file `where` with the backbone `name`.

    Raises InputError with one report of every tensor that is missing, extra or of the wrong shape.
    """
    fit, differences = _compare(_read(table, "", shapes), name, shapes)
    if differences:
        raise InputError(f"{where}: does not match {table.name} as {name}: {differences}")
    return fit


def identify(
    shapes: Mapping[str, Shape], where: object = "weights", wanted: str | None = None, under: str | None = None
) -> Fit:
    """The table and the known backbone that match a tower in the file `where` exactly.

    Of several towers, that of the backbone `wanted` is preferred, then a moving average of the weights; `under` names
    the module that holds it. Raises InputError if several remain, and if none matches: naming the network in the file,
    or the nearest table and backbone with all differences.
    """
    readings = _readings(shapes, under)
    if under is not None and not readings:
        raise InputError(f"--under: {where} holds no tower under {shown(under)}; `--inspect` lists its tensors")
    fits: dict[str, Fit] = {}  # by the last norm of the tower: the best reading of each
    for reading in readings:
        if reading.whole:
            for name in _candidates(reading):
                fit, differences = _compare(reading, name, shapes)
                last = next((tensor for slot, (tensor, _) in fit.places.items() if slot.path == LAST), "")
                if not differences and (last not in fits or len(fit.places) > len(fits[last].places)):
                    fits[last] = fit
    towers = list(fits.values())
    for better in (lambda fit: fit.name == wanted, lambda fit: wrappers.is_averaged(fit.prefix)):
        towers = [fit for fit in towers if better(fit)] or towers
    if len(towers) > 1:
        held = ", ".join(f"{shown(fit.prefix) or '(no prefix)'} {fit.name}" for fit in towers[:SHOWN])
        raise InputError(
            f"{where}: holds {len(towers)} towers ({held}); name the one to use when converting: --under PREFIX"
        )
    return towers[0] if towers else _refuse(readings, shapes, where)


def _refuse(readings: Sequence[_Reading], shapes: Mapping[str, Shape], where: object) -> NoReturn:
    if (other := recognize(shapes)) is not None:
        raise InputError(f"{where}: {other}; expected {KNOWN}")
    most = max((reading.placed for reading in readings), default=0)
    if most == 0:
        raise InputError(
            f"{where}: none of its {len(shapes)} tensor names is known ({listed([shown(name) for name in shapes])}); "
            f"expected {KNOWN}, as published by Hugging Face, timm, open_clip or their authors"
        )
    nearest = [reading for reading in readings if reading.placed == most]
    sizes = [reading.unknown_size() for reading in nearest]
    if None not in sizes:
        raise InputError(f"{where}: {sizes[0]}")
    compared = [
        _compare(reading, name, shapes)
        for reading in nearest
        for name, spec in BACKBONES.items()
        if spec.family == reading.table.family
    ]
    fit, differences = min(compared, key=_distance)
    raise InputError(f"{where}: matches no known layout; the nearest is {fit.naming} as {fit.name}: {differences}")


def without_classifier(fit: Fit, tensors: Mapping[str, np.ndarray]) -> Fit:
    """`fit` without a projection whose bias is not zero: a head trained for something else. Reads only that bias."""
    if not any(np.any(tensors[name] != 0) for name in fit.zeros):
        return fit
    head = {slot: tensor for slot, (tensor, _) in fit.places.items() if slot.path.startswith("projection/")}
    return dataclasses.replace(
        fit,
        spec=dataclasses.replace(fit.spec, projection=None),
        places={slot: place for slot, place in fit.places.items() if slot not in head},
        dropped=(*fit.dropped, *head.values()),
        zeros=(),
    )


def to_tree(fit: Fit, tensors: Mapping[str, np.ndarray], where: object = "weights") -> dict[str, Any]:
    """Our parameter tree in float32, at the native grid; reads each tensor once, one at a time.

    Raises InputError naming the first tensor in `where` that contains NaN or infinity.
    """
    leaves: dict[str, np.ndarray] = {}
    for slot, (name, row) in fit.places.items():
        shape = tree_shapes(fit.spec)[slot.path]
        with np.errstate(over="ignore"):  # beyond float32 is infinity, which is refused
            tensor = np.asarray(tensors[name], np.float32)
        if not np.isfinite(tensor).all():
            raise InputError(f"{where}: {shown(name)} contains NaN or infinity; download the file again")
        tensor = row.transform.inward(tensor, _slice_shape(slot, shape))
        if slot.block is None and slot.part[1] == 1:
            leaves[slot.path] = np.ascontiguousarray(tensor, np.float32)
            continue
        if slot.path not in leaves:
            leaves[slot.path] = np.zeros(shape, np.float32)
        _view(leaves[slot.path], slot)[...] = tensor
    # Biases that a file may lack are zero.
    return trees.unflatten(
        {path: leaves.get(path, np.zeros(shape, np.float32)) for path, shape in tree_shapes(fit.spec).items()}
    )


def to_names(table: Table, spec: BackboneSpec, tree: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The tree in the naming of `table`, each tensor contiguous: the inverse of `to_tree`, bit for bit.

    Tensors that only the dialect has (mask tokens) are zeros.
    """
    leaves = {path: np.asarray(leaf) for path, leaf in trees.flatten(tree).items()}
    if table.folded and spec.registers:
        leaves |= _folded(leaves["cls_token"], leaves["pos_embed"])
    named = {
        slot_name: np.ascontiguousarray(row.transform.outward(_view(leaves[slot.path], slot)))
        for slot, (slot_name, row) in _expected(table, spec).items()
        if slot.path in leaves
    }
    dtype = leaves[LAST].dtype
    return named | {row.name: np.zeros(shape, dtype) for row, shape in _unplaced(table, spec)}


def tree_table(spec: BackboneSpec) -> Table:
    """The layout of a converted folder: our own paths, entire leaves."""
    rows = tuple(Row(path, path, optional=path.startswith("projection/")) for path in tree_shapes(spec))
    return Table("a converted folder", spec.family, "ours", rows, "", "", None)


@functools.cache
def tree_shapes(spec: BackboneSpec) -> dict[str, Shape]:
    """Path -> shape of every leaf at the native size."""
    return {path: leaf.shape for path, leaf in trees.flatten(vit.definition(spec, spec.native_size)[1]).items()}


@dataclasses.dataclass(frozen=True)
class _Reading:
    """The names under `prefix`, without it, as read by `table`.

    files: each name as in the file. rows: of each name that some row matches, with the block number. heads: names of a
    head that no row matches.
    """

    table: Table
    prefix: str
    files: Mapping[str, str]
    shapes: Mapping[str, Shape]
    rows: Mapping[str, tuple[tuple[Row, ...], int | None]]
    heads: frozenset[str]

    @property
    def whole(self) -> bool:
        """Whether every name is accounted for."""
        return len(self.rows) + len(self.heads) == len(self.shapes)

    @property
    def placed(self) -> int:
        """How many names may have a place in our tree."""
        return sum(rows[0].path is not None for rows, _ in self.rows.values())

    def size(self) -> tuple[int | None, Mapping[int | None, int]]:
        """Width, if the last norm exists, and the number of names per block."""
        width, blocks = None, Counter[int | None]()
        for name, (rows, block) in self.rows.items():
            if "{i}" in rows[0].name:
                blocks[block] += 1
            elif rows[0].path == LAST and self.shapes[name]:
                width = self.shapes[name][-1]
        return width, blocks

    def unknown_size(self) -> str | None:
        """The message that no known backbone has this width and depth, if every block is complete."""
        width, blocks = self.size()
        known = {name: spec for name, spec in BACKBONES.items() if spec.family == self.table.family}
        if width is None or len(set(blocks.values())) != 1 or blocks.keys() != set(range(len(blocks))):
            return None
        if (width, len(blocks)) in {(spec.width, spec.depth) for spec in known.values()}:
            return None
        sizes = ", ".join(f"{name} {spec.width} x {spec.depth}" for name, spec in known.items())
        return (
            f"names as in {self.table.name}, but width {width} with {len(blocks)} blocks is an unknown size; "
            f"expected one of {sizes}"
        )


def _read(table: Table, prefix: str, shapes: Mapping[str, Shape]) -> _Reading:
    files = wrappers.unwrapped((name for name in shapes if name.startswith(prefix)), prefix)
    inner = {name: tuple(shapes[file]) for name, file in files.items()}
    patterns = {name: pattern(name) for name in inner}
    found = ((name, table.rows_of(text, name), text.block) for name, text in patterns.items())
    rows = {name: (of, block if "{i}" in of[0].name else None) for name, of, block in found if of}
    heads = frozenset(name for name in inner if name not in rows and wrappers.is_head(name))
    return _Reading(table, prefix, files, inner, rows, heads)


def _readings(shapes: Mapping[str, Shape], under: str | None) -> list[_Reading]:
    """Every table under every prefix that it may have."""
    module = "" if under is None else under.rstrip(".") + "." if under else ""
    names = [name for name in shapes if name.startswith(module)]
    found = [(table, prefix) for table in TABLES for prefix in wrappers.prefixes(table, names)[:MAX_TOWERS]]
    return [_read(table, prefix, shapes) for table, prefix in found if prefix.startswith(module)]


def _candidates(reading: _Reading) -> list[str]:
    """The known backbones with the depth and width of the file: computing the shapes of all of them is slow."""
    width, blocks = reading.size()
    return [
        name
        for name, spec in BACKBONES.items()
        if spec.family == reading.table.family and spec.width == width and spec.depth == len(blocks)
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
    """The rows of tensors that files of this backbone hold and our tree does not."""
    return [(row, row.zeros(spec)) for row in table.rows if row.zeros is not None and _applies(row, spec)]


def _applies(row: Row, spec: BackboneSpec) -> bool:
    return row.holds(spec) and (row.path is None or row.path in tree_shapes(spec))


def _compare(reading: _Reading, name: str, shapes: Mapping[str, Shape]) -> tuple[Fit, Differences]:
    table, prefix, files = reading.table, reading.prefix, reading.files
    spec = _at_its_grid(BACKBONES[name], reading)
    expected, unplaced = _expected(table, spec), dict(_unplaced(table, spec))
    places: dict[Slot, tuple[str, Row]] = {}
    dropped: dict[str, Row | None] = {}
    differences = Differences([], [], [])
    for tensor, shape in reading.shapes.items():
        rows, block = reading.rows.get(tensor, ((), None))
        row = next((row for row in rows if _applies(row, spec)), None)
        slot = None if row is None or row.path is None else Slot(row.path, block, row.part)
        if tensor in reading.heads or (row is None and wrappers.is_head(tensor)):
            dropped[tensor] = None
            continue
        if row is None or (slot is not None and (slot not in expected or slot in places)):
            differences.extra.append(f"{shown(files[tensor])} {list(shape)}")
            continue
        wanted = unplaced.get(row, shape) if slot is None else _file_shape(row, slot, spec)
        if row.head and shape != tuple(wanted):
            dropped[tensor] = None
            continue
        if slot is None:
            dropped[tensor] = row
        else:
            places[slot] = (files[tensor], row)
        if shape != tuple(wanted):
            differences.misshapen.append(misshapen(files[tensor], shape, wanted))
    unfilled = {slot: place for slot, place in expected.items() if slot not in places}
    differences.missing.extend(prefix + tensor for tensor, row in unfilled.values() if not row.optional)
    differences.missing.extend(prefix + row.name for row in unplaced if not row.optional and row.name not in dropped)
    if any(slot.path.startswith("projection/") for slot in unfilled):
        spec = dataclasses.replace(spec, projection=None)
    zeros = tuple(files[tensor] for tensor, row in dropped.items() if row is not None and row.is_zero)
    outside = (tensor for tensor in shapes if not tensor.startswith(prefix))
    aside = (*(files[tensor] for tensor in dropped), *outside)
    return Fit(name, spec, table, prefix, places, aside, zeros), differences


def _at_its_grid(spec: BackboneSpec, reading: _Reading) -> BackboneSpec:
    """`spec` with the native size of the file's positions: weights are also fine-tuned and saved at other sizes.

    A head on all tokens has a fixed size.
    """
    if spec.pooling == "flat":
        return spec
    for tensor, (rows, _) in reading.rows.items():
        row = next((row for row in rows if row.path == "pos_embed" and _applies(row, spec)), None)
        if row is not None:
            shape, wanted = reading.shapes[tensor], _file_shape(row, Slot("pos_embed", None, row.part), spec)
            if len(shape) == len(wanted) and (*shape[:-2], shape[-1]) == (*wanted[:-2], wanted[-1]):
                leading = wanted[-2] - spec.native_grid**2  # the position of CLS, if the file has it here
                grid = math.isqrt(max(shape[-2] - leading, 0))
                if grid != spec.native_grid and grid and grid * grid + leading == shape[-2]:
                    return dataclasses.replace(spec, native_size=grid * spec.patch_size)
    return spec


def _distance(compared: tuple[Fit, Differences]) -> tuple[int, int, int]:
    """Smallest for the most names with the right shapes, then the most names at all, then the fewest differences."""
    fit, differences = compared
    return len(differences.misshapen) - len(fit.places), -len(fit.places), len(differences)


def _folded(cls_token: np.ndarray, pos_embed: np.ndarray) -> dict[str, np.ndarray]:
    """The position of CLS added to cls_token, which is unchanged, even at -0.0, if already folded."""
    position = pos_embed[:, :1]
    unplaced = pos_embed.copy()
    unplaced[:, :1] = 0
    return {"cls_token": np.where(position == 0, cls_token, cls_token + position), "pos_embed": unplaced}


def _slice_shape(slot: Slot, shape: Shape) -> Shape:
    inner = shape if slot.block is None else shape[1:]
    cut = slice_of(slot.part, inner[-1])
    return (*inner[:-1], cut.stop - cut.start)


def _file_shape(row: Row, slot: Slot, spec: BackboneSpec) -> Shape:
    return row.transform.shape(_slice_shape(slot, tree_shapes(spec)[slot.path]))


def _view(leaf: np.ndarray, slot: Slot) -> np.ndarray:
    inner = leaf if slot.block is None else leaf[slot.block]
    return inner[..., slice_of(slot.part, inner.shape[-1])]
