# SPDX-License-Identifier: Apache-2.0
"""A project's settings checked against a closed list: followed, refused by name, harmless, or reported as unknown."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import quoted, shown
from adaptface_jax.models.specs import BackboneSpec, ImageStats


@dataclasses.dataclass(frozen=True)
class Found:
    """What the settings of a project define; None if they do not.

    activation: a key of the backbones' ACTIVATIONS, from the file activation_from. stats_from: the origin of the
    statistics. files: those that were read. unknown: unknown settings that are not off, to be displayed. bgr: the
    weights expect BGR.
    """

    activation: str | None = None
    activation_from: str = ""
    stats: ImageStats | None = None
    stats_from: str = ""
    files: tuple[Path, ...] = ()
    unknown: tuple[str, ...] = ()
    bgr: bool = False


@dataclasses.dataclass(frozen=True)
class Rules:
    """The closed list for one object of settings.

    same: key -> the value that the shapes imply. fixed: key -> the values with which the weights compute our feature.
    An absent or null setting is the project's default, which is among these. harmless: does not change the feature of
    an image at the model's size. read: followed by the reader.
    """

    same: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    fixed: Mapping[str, Sequence[Any]] = dataclasses.field(default_factory=dict)
    harmless: frozenset[str] = frozenset()
    read: frozenset[str] = frozenset()

    def check(self, where: Path, name: str, settings: Mapping[str, Any]) -> tuple[str, ...]:
        """The settings in none of the lists, as text; raises InputError naming the first that changes the function."""
        unknown = []
        for key, value in settings.items():
            if key in self.read or key in self.harmless or value is None:
                continue
            if key in self.same:
                if _plain(value) != self.same[key]:
                    raise InputError(
                        f"{where}: {key} is {quoted(value)}, but {name}, which these shapes match, has "
                        f"{self.same[key]!r}; use the settings of these weights"
                    )
            elif key in self.fixed:
                if not any(value == allowed for allowed in self.fixed[key]):
                    raise InputError(
                        f"{where}: {key} is {quoted(value)}; expected {self.fixed[key][0]!r}: any other value computes "
                        "a feature that is not supported"
                    )
            elif value not in (False, "", 0) and value != {} and value != []:
                unknown.append(f"{where.name}: {shown(key)} is {quoted(value)}")
        return tuple(unknown)


def _plain(value: Any) -> Any:
    """A size with two equal sides as one number."""
    if isinstance(value, list) and len(value) == 2 and value[0] == value[1]:
        return value[0]
    return value


def mlp_ratio(spec: BackboneSpec, value: Any) -> Any:
    """The expected ratio of the hidden layer's width to D: `value` itself if it gives exactly that width."""
    if isinstance(value, int | float) and not isinstance(value, bool) and int(spec.width * value) == spec.mlp_width:
        return value
    return spec.mlp_width / spec.width


def words(text: str) -> frozenset[str]:
    """The names in a text."""
    return frozenset(text.split())


def sidecar(path: Path, name: str) -> Path | None:
    """The named file in a folder, or next to a file."""
    file = (path if path.is_dir() else path.parent) / name
    return file if file.is_file() else None


def inner(where: Path, settings: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """The object under `key`, empty if absent or null; raises InputError if it is not an object."""
    value = settings.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InputError(f"{where}: {key} is not an object; expected settings by name")
    return value


def flag(where: Path, settings: Mapping[str, Any], key: str, default: bool) -> bool:
    """A setting that is true or false, the default if absent or null."""
    value = settings.get(key)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise InputError(f"{where}: {key} is {quoted(value)}; expected true or false")
    return value
