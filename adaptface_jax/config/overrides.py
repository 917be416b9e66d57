# SPDX-License-Identifier: Apache-2.0
"""From text to a checked `Config`: the ConfigDict that config files change, and its freezing."""

from __future__ import annotations

import dataclasses
import difflib
import typing
from types import NoneType, UnionType
from typing import Any

from ml_collections import ConfigDict

from adaptface_jax.config import classification, schema
from adaptface_jax.config.classification import ClassificationConfig
from adaptface_jax.config.schema import Config, sections
from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import shortened

AnyConfig = Config | ClassificationConfig

# `task` -> the settings of such a training. A record or file without one is of face training.
SCHEMAS: dict[str, type[AnyConfig]] = {kind().task: kind for kind in (Config, ClassificationConfig)}


LARGEST_INT, LARGEST_FLOAT = 2**31 - 1, 1e38  # what int32 and float32 hold


def defaults(task: str = "recognition") -> ConfigDict:
    """The default settings of "recognition" or "classification", locked: a config file cannot add new ones."""
    return thawed(SCHEMAS[task]())


def thawed(config: AnyConfig) -> ConfigDict:
    """Frozen settings as the ConfigDict that config files and flags change."""
    tree = dataclasses.asdict(config)
    benchmarks = tree["data"].pop("benchmarks", None)
    adapter = tree.pop("adapter", None)
    result = ConfigDict(tree, type_safe=False)
    if adapter is not None:
        # Its patterns stay plain dictionaries: a ConfigDict takes no key with a dot.
        result.adapter = ConfigDict(adapter, type_safe=False, convert_dict=False)
    if benchmarks is not None:
        result.data.benchmarks = ConfigDict(benchmarks)
    result.lock()
    return result


def schema_of(config: ConfigDict | dict[str, Any]) -> type[AnyConfig]:
    """The schema of a config, by its `task`; raises InputError for an unknown task."""
    task = config.get("task", Config().task)
    if not isinstance(task, str) or task not in SCHEMAS:
        raise InputError(f"task: {shortened(repr(task), 60)} is not one of {', '.join(SCHEMAS)}")
    return SCHEMAS[task]


def apply(config: ConfigDict, name: str, text: str) -> None:
    """Set `a.b` from its text on the command line; raises InputError with the nearest valid names."""
    section, _, leaf = name.rpartition(".")
    kind = schema_of(config)
    if section == "data.benchmarks" and kind is Config:
        with config.data.benchmarks.unlocked():
            config.data.benchmarks[leaf] = text
        return
    kinds = types(kind)
    if name not in kinds:
        near = difflib.get_close_matches(name, kinds, n=3, cutoff=0.5)
        near = near or [k for k in kinds if k.rpartition(".")[2] == leaf] or sorted(sections(kind))
        raise InputError(f"--config.{name}: no such setting; did you mean {', '.join(near)}?")
    value = parse(name, text, kinds[name])
    if section:
        config[section][leaf] = value
    else:
        config[leaf] = value


def types(schema: type[AnyConfig]) -> dict[str, Any]:
    """Setting name -> its declared type, for every setting."""
    result: dict[str, Any] = {}
    grouped = sections(schema)
    for name, hint in typing.get_type_hints(schema).items():
        if name in grouped:
            result |= {f"{name}.{leaf}": kind for leaf, kind in typing.get_type_hints(hint).items()}
        else:
            result[name] = hint
    return result


def parse(name: str, text: str, kind: Any) -> Any:
    """The text of a setting as a value of `kind`; lists are `a,b` or `(a, b)`, patterns `a=1,b=2`, `none` clears."""
    options = typing.get_args(kind) if isinstance(kind, UnionType) else (kind,)
    if NoneType in options and text.lower() == "none":
        return None
    base = next(option for option in options if option is not NoneType)
    if base is int and str in options and not text.isdecimal():
        return text
    try:
        if typing.get_origin(base) is dict:
            return _parse_pattern(name, text, typing.get_args(base)[1])
        if typing.get_origin(base) is tuple:
            if text.lower() == "none":
                return ()
            inner = typing.get_args(base)[0]
            words = [word.strip(" '\"") for word in text.strip("()[] ").split(",")]
            return tuple(parse(name, word, inner) for word in words if word)
        if base is bool:
            return {"true": True, "1": True, "false": False, "0": False}[text.lower()]
        return base(text)
    except (KeyError, TypeError, ValueError):
        raise InputError(f"--config.{name}: {text!r} is not {describe(kind)}") from None


def _parse_pattern(name: str, text: str, kind: type) -> dict[str, Any]:
    """`a=1,b=2`, also in parentheses; raises ValueError for anything else."""
    text = text[1:-1] if text[:1] == "(" and text[-1:] == ")" else text
    result: dict[str, Any] = {}
    for item in [] if text.lower() == "none" else text.split(","):
        key, _, value = item.rpartition("=")
        key = key.strip(" '\"")
        if key in result:
            raise InputError(f"--config.{name}: {shortened(key, 80)} is given twice")
        if not key:
            raise ValueError
        result[key] = kind(value)
    return result


def describe(kind: Any) -> str:
    """A type in words."""
    if isinstance(kind, UnionType):
        return " or ".join(describe(option) for option in typing.get_args(kind))
    if typing.get_origin(kind) is tuple:
        inner = typing.get_args(kind)[0]
        options = typing.get_args(inner) if isinstance(inner, UnionType) else (inner,)
        words = " or ".join(describe(option).removeprefix("a ") + "s" for option in options)
        return f"a list of {words}, like a,b"
    if typing.get_origin(kind) is dict:
        inner = typing.get_args(kind)[1]
        if inner is str:
            return "a dictionary of names and paths"
        return f"names, each with {describe(inner)}, like a=8,b=4"
    return {int: "a whole number", float: "a number", bool: "true or false", str: "text", NoneType: "none"}[kind]


def fits(value: Any, kind: Any) -> bool:
    """Whether `value` is valid for `kind` (an int is valid for a float)."""
    if isinstance(kind, UnionType):
        return any(fits(value, option) for option in typing.get_args(kind))
    if typing.get_origin(kind) is tuple:
        return isinstance(value, tuple | list) and all(fits(item, typing.get_args(kind)[0]) for item in value)
    if typing.get_origin(kind) is dict:
        inner = typing.get_args(kind)[1]
        return isinstance(value, dict) and all(isinstance(k, str) and fits(v, inner) for k, v in value.items())
    if kind is float:
        return isinstance(value, float | int) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, kind)


def freeze(config: ConfigDict | dict[str, Any]) -> AnyConfig:
    """The checked, immutable settings; raises InputError naming the first wrong one."""
    tree = config.to_dict() if isinstance(config, ConfigDict) else dict(config)
    whole = schema_of(tree)
    kinds, grouped = types(whole), sections(whole)
    unknown = sorted(set(tree) - set(grouped) - {name for name in kinds if "." not in name})
    if unknown:
        raise InputError(f"config: no section {unknown[0]!r}; expected {', '.join(grouped)}")
    parts: dict[str, Any] = {name: tree[name] for name in tree if name not in grouped}
    for name, value in parts.items():
        parts[name] = one(whole, name, name, value, kinds[name])
    for section, kind in grouped.items():
        given = tree.get(section, {})
        if not isinstance(given, dict):
            raise InputError(f"{section}: {given!r} is not a section of settings")
        for leaf in given:
            if f"{section}.{leaf}" not in kinds:
                raise InputError(f"{section}.{leaf}: no such setting")
        parts[section] = kind(
            **{k: one(kind, k, f"{section}.{k}", v, kinds[f"{section}.{k}"]) for k, v in given.items()}
        )
    result = whole(**parts)
    if isinstance(result, Config):
        schema.check(result)
    else:
        classification.check(result)
    return result


def one(owner: type, leaf: str, name: str, value: Any, kind: Any) -> Any:
    """One checked value."""
    if not fits(value, kind):
        raise InputError(f"{name}: {value!r} is not {describe(kind)}")
    metadata = owner.__dataclass_fields__[leaf].metadata  # type: ignore[attr-defined]
    if metadata["choices"] and value not in metadata["choices"]:
        near = difflib.get_close_matches(str(value), metadata["choices"], n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise InputError(f"{name}: {value!r} is not one of {', '.join(metadata['choices'])}{hint}")
    items = value if isinstance(value, tuple | list) else value.values() if isinstance(value, dict) else (value,)
    for item in items:
        _check_item(name, item, metadata["low"], metadata["high"])
    if isinstance(value, dict):
        return {key: float(item) if typing.get_args(kind)[1] is float else item for key, item in value.items()}
    if isinstance(value, list):
        return tuple(value)
    if isinstance(value, int) and kind in (float, float | None) and not isinstance(value, bool):
        return float(value)
    return value


def check_flag(flag: str, setting: str, value: int | None) -> None:
    """Raises InputError, naming the flag, for a value that `setting` of face training could not have."""
    section, _, leaf = setting.rpartition(".")
    if value is not None:
        one(sections(Config)[section], leaf, flag, value, types(Config)[setting])


def _check_item(name: str, value: Any, low: float | None, high: float | None) -> None:
    """Raise InputError for a number that is out of range or that float32 and int32 cannot hold, and for odd text."""
    if isinstance(value, str):
        if any(character < " " or character == "\x7f" for character in value):
            raise InputError(f"{name}: {shortened(repr(value), 80)} has control characters; expected plain text")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        if isinstance(value, float) and not abs(value) <= LARGEST_FLOAT:
            raise InputError(f"{name}: {value} is out of range; expected a finite number, at most {LARGEST_FLOAT:g}")
        if (low is not None and value < low) or (high is not None and value > high):
            raise InputError(f"{name}: {shortened(str(value), 40)} is out of range; expected {bounds(low, high)}")
        if abs(value) > (LARGEST_INT if high is None and isinstance(value, int) else LARGEST_FLOAT):
            raise InputError(f"{name}: {shortened(str(value), 40)} is out of range; expected at most {LARGEST_INT:,}")


def bounds(low: float | None, high: float | None) -> str:
    """Words for inclusive bounds."""
    if high is None:
        return f"at least {low}"
    return f"at most {high}" if low is None else f"{low} to {high}"
