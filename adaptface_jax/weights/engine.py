"""Files' names <-> our tree, through a name table in which every name is matched exactly once on both sides."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from adaptface_jax import trees
from adaptface_jax.backbones import vit
from adaptface_jax.errors import InputError
from adaptface_jax.specs import BACKBONES, BackboneSpec
from adaptface_jax.weights.tables import TABLES, Row, Table
from adaptface_jax.weights.transforms import Shape

SHOWN = 6  # names that a report lists of each kind


class Slot(NamedTuple):
    """A place that one tensor fills: a leaf, its block (None: the whole leaf), and its slice of the last axis."""

    path: str
    block: int | None
    part: tuple[int, int]


@dataclasses.dataclass(frozen=True)
class Fit:
    """A file that a table fits: `places` says which name, read by which row, fills each slot of `spec`'s tree.

    spec is the known row of `name`, without its projection where the file has none. dropped: known, and of no use.
    """

    name: str
    spec: BackboneSpec
    table: Table
    places: Mapping[Slot, tuple[str, Row]]
    dropped: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class _Differences:
    missing: list[str]
    extra: list[str]
    misshapen: list[str]

    def __len__(self) -> int:
        return len(self.missing) + len(self.extra) + len(self.misshapen)

    def __str__(self) -> str:
        kinds = (("missing", self.missing), ("extra", self.extra), ("misshapen", self.misshapen))
        return "; ".join(f"{kind} ({len(names)}): {_listed(names)}" for kind, names in kinds if names)


def match(table: Table, name: str, shapes: Mapping[str, Shape], where: object = "weights") -> Fit:
    """Fits the names and shapes of the file `where` to the backbone `name`.

    Raises InputError with one report of every name that is missing, extra or misshapen.
    """
    fit, differences = _compare(table, name, _parse(table, shapes), shapes)
    if differences:
        raise InputError(f"{where}: does not fit {table.name} as {name}: {differences}")
    return fit


def identify(shapes: Mapping[str, Shape], where: object = "weights") -> Fit:
    """The table and the known backbone that fit the file `where` exactly.

    Raises InputError naming the nearest pair (most names placed, then fewest differences) and all that differs.
    """
    nearest: tuple[tuple[int, int], Fit, _Differences] | None = None
    for table in TABLES:
        parsed = _parse(table, shapes)
        for name in BACKBONES:
            if BACKBONES[name].family != table.family:
                continue
            fit, differences = _compare(table, name, parsed, shapes)
            if not differences:
                return fit
            rank = (-len(fit.places), len(differences))
            if fit.places and (nearest is None or rank < nearest[0]):
                nearest = rank, fit, differences
    if nearest is None:
        raise InputError(
            f"{where}: none of its {len(shapes)} tensor names is known ({_listed([_shown(name) for name in shapes])}); "
            "expected DINOv2 or a CLIP vision tower as Hugging Face publishes them"
        )
    _, fit, differences = nearest
    raise InputError(f"{where}: fits no known layout; the nearest is {fit.table.name} as {fit.name}: {differences}")


def to_tree(fit: Fit, tensors: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Our parameter tree in float32, at the native grid; reads each tensor once, and holds one at a time."""
    leaves: dict[str, np.ndarray] = {}
    for slot, (name, row) in fit.places.items():
        shape = tree_shapes(fit.spec)[slot.path]
        tensor = row.transform.inward(tensors[name], _slice_shape(slot, shape))
        if slot.block is None and slot.part[1] == 1:
            leaves[slot.path] = np.ascontiguousarray(tensor, np.float32)
            continue
        if slot.path not in leaves:
            leaves[slot.path] = np.empty(shape, np.float32)
        _view(leaves[slot.path], slot)[...] = tensor
    return trees.unflatten(leaves)


def to_names(table: Table, spec: BackboneSpec, tree: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The tree as `table` names it, each tensor contiguous: the inverse of `to_tree`, bit for bit."""
    leaves = trees.flatten(tree)
    return {
        slot_name: np.ascontiguousarray(row.transform.outward(_view(np.asarray(leaves[slot.path]), slot)))
        for slot, (slot_name, row) in _expected(table, spec).items()
        if slot.path in leaves
    }


def file_shapes(table: Table, spec: BackboneSpec) -> dict[str, Shape]:
    """Every name that a file of this table and backbone has, with its shape."""
    return {name: _file_shape(row, slot, spec) for slot, (name, row) in _expected(table, spec).items()}


def tree_table(spec: BackboneSpec) -> Table:
    """The layout of a converted folder: our own paths, whole leaves."""
    rows = tuple(Row(path, path, optional=path.startswith("projection/")) for path in tree_shapes(spec))
    return Table("a converted folder", spec.family, rows, "", "")


@functools.cache
def tree_shapes(spec: BackboneSpec) -> dict[str, Shape]:
    """Path -> shape of every leaf at the native size."""
    return {path: leaf.shape for path, leaf in trees.flatten(vit.definition(spec, spec.native_size)[1]).items()}


_Parsed = dict[str, tuple[Row, int | None]]


def _parse(table: Table, names: Iterable[str]) -> _Parsed:
    """The row and the block's number of each name that some row of the table matches."""
    patterns = [(row, _pattern(row.name)) for row in table.rows]
    parsed: _Parsed = {}
    for name in names:
        for row, pattern in patterns:
            if found := pattern.fullmatch(name):
                parsed[name] = (row, int(found["i"]) if "{i}" in row.name else None)
                break
    return parsed


@functools.cache
def _pattern(name: str) -> re.Pattern[str]:
    escaped = re.escape(name).replace(r"\{i\}", r"(?P<i>0|[1-9][0-9]{0,3})")
    return re.compile(escaped.replace(r"\*\*", ".+").replace(r"\*", r"[^.]+"), re.DOTALL)


def _expected(table: Table, spec: BackboneSpec) -> dict[Slot, tuple[str, Row]]:
    """Every slot of the tree with the name that fills it (the first row, where rows are alternatives)."""
    slots: dict[Slot, tuple[str, Row]] = {}
    for row in table.rows:
        if _applies(row, spec):
            for block in range(spec.depth) if "{i}" in row.name else (None,):
                assert row.path is not None
                slots.setdefault(Slot(row.path, block, row.part), (row.name.replace("{i}", str(block)), row))
    return slots


def _applies(row: Row, spec: BackboneSpec) -> bool:
    return row.path in tree_shapes(spec) and row.mlp in (None, spec.mlp)


def _compare(table: Table, name: str, parsed: _Parsed, shapes: Mapping[str, Shape]) -> tuple[Fit, _Differences]:
    spec = BACKBONES[name]
    expected = _expected(table, spec)
    places: dict[Slot, tuple[str, Row]] = {}
    dropped: list[str] = []
    differences = _Differences([], [], [])
    for tensor, shape in shapes.items():
        row, block = parsed.get(tensor, (None, None))
        if row is not None and row.path is None:
            dropped.append(tensor)
            continue
        slot = None if row is None or row.path is None else Slot(row.path, block, row.part)
        if row is None or slot is None or slot not in expected or slot in places or not _applies(row, spec):
            differences.extra.append(f"{_shown(tensor)} {list(shape)}")
            continue
        places[slot] = (tensor, row)
        wanted = _file_shape(row, slot, spec)
        if tuple(shape) != wanted:
            differences.misshapen.append(f"{_shown(tensor)} {list(shape)}, expected {list(wanted)}")
    unfilled = {slot: place for slot, place in expected.items() if slot not in places}
    differences.missing.extend(tensor for tensor, row in unfilled.values() if not row.optional)
    if any(slot.path.startswith("projection/") for slot in unfilled):
        spec = dataclasses.replace(spec, projection=None)
    return Fit(name, spec, table, places, tuple(dropped)), differences


def _slice_shape(slot: Slot, shape: Shape) -> Shape:
    inner = shape if slot.block is None else shape[1:]
    return (*inner[:-1], inner[-1] // slot.part[1])


def _file_shape(row: Row, slot: Slot, spec: BackboneSpec) -> Shape:
    return row.transform.shape(_slice_shape(slot, tree_shapes(spec)[slot.path]))


def _view(leaf: np.ndarray, slot: Slot) -> np.ndarray:
    inner = leaf if slot.block is None else leaf[slot.block]
    width = inner.shape[-1] // slot.part[1]
    return inner[..., slot.part[0] * width : (slot.part[0] + 1) * width]


def _shown(name: str) -> str:
    """A file's name for a tensor, safe to print: no line breaks or terminal sequences, not endless."""
    return name if name.isprintable() and len(name) < 200 else repr(name[:200])


def _listed(names: list[str]) -> str:
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
