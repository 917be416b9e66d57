# SPDX-License-Identifier: Apache-2.0
"""A readable description of a weight file from its header alone: no tensor is read (its sha256 is streamed)."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from adaptface_jax.core.errors import InputError
from adaptface_jax.models.specs import BackboneSpec
from adaptface_jax.weights.folder import fit_folder, is_converted, read_description
from adaptface_jax.weights.formats.reader import open_weights
from adaptface_jax.weights.formats.tensors import Tensors
from adaptface_jax.weights.names import engine
from adaptface_jax.weights.settings import settle

_KINDS = {
    "safetensors": "safetensors",
    "torch": "PyTorch (a zip archive with a pickle, which is not executed)",
    "torchscript": "TorchScript archive (its code is not executed)",
}


def inspect(path: Path, *, every: bool = False) -> list[str]:
    """A file or a folder of weights, known or not: a description, then its tensors, one line per kind and shape.

    `every`: one line per tensor. Raises InputError if it is not an intact weight file.
    """
    tensors = open_weights(path)
    sizes = [file.stat().st_size for file in tensors.files]
    elements = {name: math.prod(shape) for name, shape in tensors.shapes.items()}
    facts = [
        ("files", f"{_listed([file.name for file in tensors.files])}: {sum(sizes):,} bytes"),
        ("container", _KINDS[tensors.container]),
        ("sha256", tensors.sha256()),
        ("tensors", f"{len(tensors):,}, {sum(elements.values()):,} parameters"),
        ("dtypes", _dtypes(tensors.dtypes, elements)),
        *(_of_folder(path, tensors) if is_converted(path) else _of_published(path, tensors)),
    ]
    shown = _each(tensors) if every else _folded(tensors)
    return [str(path), *(f"  {key:10}  {value}" for key, value in facts), "", *shown]


def _of_folder(path: Path, tensors: Tensors) -> list[tuple[str, str]]:
    try:
        weights = read_description(path)
        spec = fit_folder(path, weights.name, tensors.shapes).spec
    except InputError as error:
        return [("dialect", f"a converted folder, corrupted: {_reason(error, path)}")]
    return [
        ("dialect", f"a converted folder of {weights.name}, from {weights.source} (sha256 {weights.sha256})"),
        ("positions", _positions(weights.position_rule, spec)),
        ("activation", weights.spec.activation),
        ("statistics", statistics_line(weights.spec)),
        ("projection", str(spec.projection or "none")),
    ]


def _of_published(path: Path, tensors: Tensors) -> list[tuple[str, str]]:
    try:
        fit = engine.identify(tensors.shapes, path)
    except InputError as error:
        return [("dialect", _reason(error, path))]
    spec = fit.spec
    facts = [
        ("dialect", f"{fit.naming}: {fit.name}"),
        ("set aside", _listed(fit.aside) or "none"),
        ("positions", _positions(fit.table.position_rule(spec), spec)),
        ("projection", str(spec.projection or "none")),
    ]
    try:
        settled = settle(spec, fit.name, fit.table, tensors.container, path)
    except InputError as error:
        return [*facts, ("activation", _reason(error, path))]
    return [
        *facts,
        ("activation", f"{settled.spec.activation} ({settled.activation_from})"),
        ("statistics", f"{statistics_line(settled.spec)} ({settled.statistics_from})"),
        *([("channels", settled.channels)] if settled.bgr else []),
        ("settings", _listed([file.name for file in settled.files]) or "none"),
        *(("unknown", setting) for setting in settled.unknown),
    ]


def _reason(error: InputError, path: Path) -> str:
    return str(error).removeprefix(f"{path}: ")


def _positions(rule: str, spec: BackboneSpec) -> str:
    return f"{rule}, native grid {spec.native_grid} x {spec.native_grid}"


def statistics_line(spec: BackboneSpec) -> str:
    """Mean and standard deviation, to be displayed."""
    mean, std = (" ".join(f"{value:g}" for value in values) for values in (spec.stats.mean, spec.stats.std))
    return f"mean {mean}, std {std}"


def _listed(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _dtypes(dtypes: Mapping[str, str], elements: Mapping[str, int]) -> str:
    nbytes: dict[str, int] = {}
    for name, dtype in dtypes.items():
        bits = re.search(r"\d+", dtype)  # BOOL takes a byte
        nbytes[dtype] = nbytes.get(dtype, 0) + elements[name] * (int(bits[0]) if bits else 8) // 8
    return ", ".join(f"{dtype} {count:,} bytes" for dtype, count in sorted(nbytes.items())) or "none"


def _line(name: str, dtype: str, shape: tuple[int, ...]) -> str:
    return f"{name}  {dtype}  {list(shape)}"


def _each(tensors: Tensors) -> Iterator[str]:
    shapes, dtypes = tensors.shapes, tensors.dtypes
    return (_line(name, dtypes[name], shapes[name]) for name in tensors)


def _folded(tensors: Tensors) -> Iterator[str]:
    """blocks.0.x, blocks.1.x, blocks.2.x of one dtype and shape -> blocks.{0..2}.x."""
    shapes, dtypes = tensors.shapes, tensors.dtypes
    groups: dict[tuple[str, str, str, tuple[int, ...]], set[int]] = {}
    for name in tensors:
        # The last number between two dots is the block number.
        found = re.fullmatch(r"(.*?\.|)(0|[1-9][0-9]{0,3})(\.(?!.*\.[0-9]+\.).*)", name)
        start, number, end = found.groups() if found else (name, None, "")
        group = groups.setdefault((start, end, dtypes[name], shapes[name]), set())
        if number is not None:
            group.add(int(number))
    for (start, end, dtype, shape), numbers in groups.items():
        if not numbers:
            yield _line(start, dtype, shape)
        for first, last in _runs(sorted(numbers)):
            yield _line(f"{start}{first if first == last else f'{{{first}..{last}}}'}{end}", dtype, shape)


def _runs(numbers: list[int]) -> Iterator[tuple[int, int]]:
    """[0, 1, 2, 5] -> (0, 2), (5, 5)."""
    first = 0
    for i, number in enumerate(numbers):
        if i + 1 == len(numbers) or numbers[i + 1] != number + 1:
            yield numbers[first], number
            first = i + 1
