# SPDX-License-Identifier: Apache-2.0
"""JSON that every reader accepts, and JSON objects from untrusted files."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import one_line

Value = TypeVar("Value")

# A parsed value can take twenty times its text. The header of a published backbone is below 0.1 MiB.
MAX_BYTES = 8 << 20


def to_json(value: Any, indent: int | None = None) -> str:
    """`value` as RFC 8259 JSON: arrays and tuples become lists, NaN and infinities null, dataclasses objects.

    Fields of a dataclass that hold their default are left out; `from_plain` puts them back. File names that are not
    UTF-8 survive unchanged (surrogate escapes). Raises TypeError for what JSON cannot express.
    """
    text = json.dumps(plain := _plain(value), indent=indent, allow_nan=False, ensure_ascii=False)
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        return json.dumps(plain, indent=indent, allow_nan=False)
    return text


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object of a file; raises InputError if it holds something else, a key twice, or more than 8 MiB."""
    try:
        if path.is_fifo():  # nobody may ever write to it
            raise InputError(f"{path}: is a pipe; expected a file")
        with open(path, "rb") as stream:
            return parse_object(stream.read(MAX_BYTES + 1))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise InputError(f"{path}: not readable as JSON ({one_line(error, 160)})") from None


def parse_object(data: bytes) -> dict[str, Any]:
    """Raises ValueError for anything but a valid JSON object of at most 8 MiB."""
    if len(data) > MAX_BYTES:
        raise ValueError(f"longer than {MAX_BYTES >> 20} MiB")
    try:
        value = json.loads(data, object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError(f"holds a JSON {type(value).__name__}; expected an object")
    return value


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise ValueError(f"the key {key[:80]!r} occurs twice")
        result[key] = value
    return result


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def from_plain(value: Any, kind: type[Value], where: str) -> Value:
    """A dataclass of `kind` from the parsed JSON that `to_json` wrote; unknown keys are skipped.

    Raises InputError, which begins with `where`, naming the first value that is missing or of another type.
    """
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise InputError(f"{where}: {one_line(error)}; was it written by another program?") from None


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: _plain(item)
            for field in dataclasses.fields(value)
            if (item := getattr(value, field.name)) != _default(field)
        }
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):  # NumPy and JAX, scalars and arrays
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return value


def _default(field: dataclasses.Field[Any]) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
