"""A project's settings against a closed list: followed, refused by name, harmless, or named as not known here."""

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
    """What the settings of a project say; None if they do not.

    activation: a key of the backbones' ACTIVATIONS, said by the file activation_from. stats_from: what says the
    statistics. files: those that were read. unknown: settings that are not known here and not off, named for people.
    """

    activation: str | None = None
    activation_from: str = ""
    stats: ImageStats | None = None
    stats_from: str = ""
    files: tuple[Path, ...] = ()
    unknown: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Rules:
    """The closed list of one object of settings.

    same: key -> what these weights have by their shapes. fixed: key -> the values with which they compute our feature.
    An absent or null setting is the project's default, which is among these. harmless: changes nothing in the feature
    of an image at the model's size. read: the reader follows it.
    """

    same: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    fixed: Mapping[str, Sequence[Any]] = dataclasses.field(default_factory=dict)
    harmless: frozenset[str] = frozenset()
    read: frozenset[str] = frozenset()

    def check(self, where: Path, name: str, settings: Mapping[str, Any]) -> tuple[str, ...]:
        """The settings that no list has, in words; raises InputError naming the first that changes the function."""
        unknown = []
        for key, value in settings.items():
            if key in self.read or key in self.harmless or value is None:
                continue
            if key in self.same:
                if _plain(value) != self.same[key]:
                    raise InputError(
                        f"{where}: {key} is {quoted(value)}, but {name}, whose shapes these are, has "
                        f"{self.same[key]!r}; take the settings of these weights"
                    )
            elif key in self.fixed:
                if not any(value == allowed for allowed in self.fixed[key]):
                    raise InputError(
                        f"{where}: {key} is {quoted(value)}; expected {self.fixed[key][0]!r}: with anything else these "
                        "weights compute another feature, for which there is no form here"
                    )
            elif value not in (False, "", 0) and value != {} and value != []:
                unknown.append(f"{where.name}: {shown(key)} is {quoted(value)}")
        return tuple(unknown)


def _plain(value: Any) -> Any:
    """A size of two equal sides is one number."""
    if isinstance(value, list) and len(value) == 2 and value[0] == value[1]:
        return value[0]
    return value


def mlp_ratio(spec: BackboneSpec, value: Any) -> Any:
    """What a setting of the hidden layer's width over D must be: `value` itself where it comes to the very width."""
    if isinstance(value, int | float) and not isinstance(value, bool) and int(spec.width * value) == spec.mlp_width:
        return value
    return spec.mlp_width / spec.width


def words(text: str) -> frozenset[str]:
    """A list of names."""
    return frozenset(text.split())


def beside(path: Path, name: str) -> Path | None:
    """That file in a folder, or beside a file."""
    file = (path if path.is_dir() else path.parent) / name
    return file if file.is_file() else None


def inner(where: Path, settings: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """The object under `key`, empty if it is absent or null; raises InputError if it is none."""
    value = settings.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InputError(f"{where}: {key} is no object; expected settings by name")
    return value


def flag(where: Path, settings: Mapping[str, Any], key: str, default: bool) -> bool:
    """A setting that is true or false, the default where it is absent or null."""
    value = settings.get(key)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise InputError(f"{where}: {key} is {quoted(value)}; expected true or false")
    return value
