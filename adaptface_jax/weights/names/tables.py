"""Name tables: one row per tensor name, with its place in our tree. The tables are in `dialects`."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable
from typing import Any, Literal, NamedTuple

from adaptface_jax.models.specs import BackboneSpec, Family
from adaptface_jax.weights.names.transforms import SAME, TRANSPOSED, Shape, Transform

# Who resizes positions by a table's rule, to be displayed.
PROJECTS = {
    "hf": "transformers",
    "dinov2": "its authors' own code",
    "timm": "timm",
    "open_clip": "open_clip",
    "insightface": "InsightFace",
}
Part = tuple[int, int] | tuple[int, int, int]
CHUNKS = 4  # of the depth, in chunked DINOv2 checkpoints


@dataclasses.dataclass(frozen=True)
class Row:
    """One tensor name and its place.

    name: as in the file; `{i}` stands for the block number, `{c}` for its chunk's, `**` at the end for any rest.
    path: the leaf in our tree, with a leading depth axis if the name has `{i}`; None for known tensors to drop.
    part: (k, n): the tensor is the k-th of n equal slices of the leaf's last axis; (k, n, m): m of them from the k-th.
    mlp, registers: the row applies only to backbones with this kind of MLP, with or without registers.
    optional: the file may lack it.
    zeros: the shape of a dropped tensor, which is written as zeros.
    is_zero: a dropped tensor that must be zero, because we compute without it.
    head: with a different shape, or with nonzero values in `zeros`, it is a classifier's and dropped.
    """

    name: str
    path: str | None
    transform: Transform = SAME
    part: Part = (0, 1)
    mlp: Literal["mlp", "swiglu"] | None = None
    registers: bool | None = None
    optional: bool = False
    zeros: Callable[[BackboneSpec], Shape] | None = None
    is_zero: bool = False
    head: bool = False

    def holds(self, spec: BackboneSpec) -> bool:
        """Whether files of this backbone have the row."""
        return self.mlp in (None, spec.mlp) and self.registers in (None, spec.registers > 0)

    def numbered(self, block: int | None, depth: int) -> str:
        """The tensor's name in that block (None: it belongs to none)."""
        if block is None:
            return self.name
        chunk = block * min(CHUNKS, depth) // depth
        return self.name.replace("{c}", str(chunk)).replace("{i}", str(block))


class Pattern(NamedTuple):
    """A tensor's name with `#` for each number in it, and the last number, which is the block's."""

    text: str
    block: int | None


def pattern(name: str) -> Pattern:
    """The pattern of a tensor's name; 007 and the like are not numbers."""
    parts = name.split(".")
    numbers = [i for i, part in enumerate(parts) if part.isascii() and part.isdigit() and part == str(int(part[:5]))]
    for i in numbers[:-1]:
        parts[i] = "#"
    if not numbers:
        return Pattern(name, None)
    block = int(parts[numbers[-1]])
    parts[numbers[-1]] = "#"
    return Pattern(".".join(parts), block)


@dataclasses.dataclass(frozen=True)
class Table:
    """One dialect.

    project: the origin of the files, which determines the settings that apply to them.
    rule, rule_with_registers: how that project resizes positions, keys of `specs.POSITION_RULES`, or ROTARY.
    activation: None if names and shapes are the same for different activations.
    folded: with registers, the position of CLS is already added to cls_token. trunk: a timm model in open_clip.
    """

    name: str
    family: Family
    project: Literal["hf", "dinov2", "timm", "open_clip", "insightface", "ours"]
    rows: tuple[Row, ...]
    rule: str
    rule_with_registers: str
    activation: str | None
    folded: bool = False
    trunk: bool = False

    def position_rule(self, spec: BackboneSpec) -> str:
        """A key of `specs.POSITION_RULES`."""
        return self.rule_with_registers if spec.registers else self.rule

    def rows_of(self, name: Pattern, whole: str) -> tuple[Row, ...]:
        """The rows that may read a tensor's name."""
        exact = self._exact.get(whole) or self._exact.get(name.text)
        return exact or tuple(row for start, row in self._starts if whole.startswith(start))

    @functools.cached_property
    def anchors(self) -> tuple[str, ...]:
        """Names that every file of this table has once, outside its blocks: they locate the tower."""
        paths = ("cls_token", "pos_embed", "patch_embed/kernel")
        return tuple(dict.fromkeys(row.name for row in self.rows if row.path in paths))

    @functools.cached_property
    def _exact(self) -> dict[str, tuple[Row, ...]]:
        rows: dict[str, tuple[Row, ...]] = {}
        for row in self.rows:
            text = row.name.replace("{c}", "#").replace("{i}", "#")
            rows[text] = (*rows.get(text, ()), row)
        return rows

    @functools.cached_property
    def _starts(self) -> tuple[tuple[str, Row], ...]:
        return tuple((row.name.removesuffix("**"), row) for row in self.rows if row.name.endswith("**"))


def slice_of(part: Part, length: int) -> slice:
    """The slice of an axis that a tensor fills."""
    k, n, *more = part
    width = length // n
    return slice(k * width, (k + (more[0] if more else 1)) * width)


def linear(name: str, path: str, **more: Any) -> tuple[Row, Row]:
    """The two rows of a torch.nn.Linear."""
    return (
        Row(f"{name}.weight", f"{path}/kernel", TRANSPOSED, **more),
        Row(f"{name}.bias", f"{path}/bias", **more),
    )


def norm(name: str, path: str) -> tuple[Row, Row]:
    """The two rows of a torch.nn.LayerNorm."""
    return Row(f"{name}.weight", f"{path}/scale"), Row(f"{name}.bias", f"{path}/bias")


def dropped(*names: str) -> tuple[Row, ...]:
    """Rows of tensors that a file may hold and that are not used here."""
    return tuple(Row(name, None, optional=True) for name in names)


def prefixed(prefix: str, rows: Iterable[Row]) -> tuple[Row, ...]:
    """The same rows under a module's name."""
    return tuple(dataclasses.replace(row, name=prefix + row.name) for row in rows)
