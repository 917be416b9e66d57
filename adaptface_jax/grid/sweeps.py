"""What a grid varies: `train.learning_rate=1e-4,1e-3`, checked and named before anything starts."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from adaptface_jax.config import overrides
from adaptface_jax.config.overrides import AnyConfig
from adaptface_jax.core.errors import InputError
from adaptface_jax.models.settings import checked

# Setting name -> its value as it is typed.
Choice = Mapping[str, str]

LONGEST = 120  # characters of a sub-run's name; a file system takes 255 bytes


@dataclasses.dataclass(frozen=True)
class Values:
    """A setting and the texts of its values, in the order given."""

    setting: str
    texts: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Range:
    """A setting and the inclusive range it is drawn from; log-uniform if the ends differ by 10 times or more."""

    setting: str
    low: float
    high: float
    whole: bool

    @property
    def log(self) -> bool:
        return self.low > 0 and self.high >= 10 * self.low

    def text(self, value: float) -> str:
        """A drawn value with four digits, within the ends."""
        if self.whole:
            return str(int(value))
        return repr(min(max(float(f"{value:.4g}"), self.low), self.high))


Sweep = Values | Range


def parse_sweeps(texts: Sequence[str], config: AnyConfig, drawn: bool) -> list[Sweep]:
    """The sweeps of `--sweep NAME=VALUES`; drawn: whether ranges are allowed. Raises InputError, one line."""
    sweeps = [_parse(text, config, drawn) for text in texts]
    names = [sweep.setting for sweep in sweeps]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"--sweep: {name} is given twice; write all its values in one")
    return sweeps


def _parse(text: str, config: AnyConfig, drawn: bool) -> Sweep:
    name, equals, rest = text.partition("=")
    if not (name and equals and rest):
        raise InputError(f"--sweep: {text!r} is not NAME=VALUE,VALUE, e.g. train.learning_rate=1e-4,1e-3")
    kind = overrides.types(type(config)).get(name)
    number = next((k for k in (kind, *get_args(kind)) if k in (int, float)), None)
    if number is not None and (ends := re.fullmatch(r"(.+?)\.\.(.+)", rest)):
        if not drawn:
            raise InputError(f"--sweep {name}: the range {rest} is for --trials=N; without it, write the values")
        low, high = (_value(config, name, end) for end in ends.groups())
        if low is None or high is None or not low < high < math.inf:
            raise InputError(f"--sweep {name}: {rest} is not a range; expected LOW..HIGH")
        return Range(name, low, high, number is int)
    words = split_values(rest)
    if not all(words):
        raise InputError(f"--sweep {name}: {rest!r} has an empty value")
    values = [_value(config, name, word) for word in words]
    for i, value in enumerate(values):
        if value in values[:i]:
            raise InputError(f"--sweep {name}: {words[i]} is given twice")
    return Values(name, tuple(words))


def _value(config: AnyConfig, name: str, text: str) -> Any:
    """The text as a value of the setting. Raises InputError with the nearest names if there is no such setting."""
    try:
        changed = overrides.thawed(config)
        overrides.apply(changed, name, text)
        section, _, leaf = name.rpartition(".")
        if section == "data.benchmarks" or name == "task":
            raise InputError(f"--config.{name}: is the same for all runs of a grid")
        return changed[section][leaf] if section else changed[leaf]
    except InputError as error:
        raise InputError(str(error).replace("--config.", "--sweep ", 1)) from None


def split_values(text: str) -> list[str]:
    """Split at commas outside parentheses: "(2,2,2),(3,3,3)" has two values."""
    words, depth = [""], 0
    for character in text:
        depth += (character in "([") - (character in ")]")
        if character == "," and depth == 0:
            words.append("")
        else:
            words[-1] += character
    return [word.strip() for word in words]


def product(sweeps: Sequence[Values]) -> Iterator[Choice]:
    """Every combination; the last sweep changes fastest."""
    for texts in itertools.product(*(sweep.texts for sweep in sweeps)):
        yield {sweep.setting: text for sweep, text in zip(sweeps, texts, strict=True)}


def applied(config: AnyConfig, choice: Choice) -> AnyConfig:
    """The settings of a sub-run; raises InputError, which begins with its name, if they contradict each other."""
    changed = overrides.thawed(config)
    try:
        for name, text in choice.items():
            overrides.apply(changed, name, text)
        return checked(changed)
    except InputError as error:
        raise InputError(f"--sweep: {name_of(choice, config)}: {error}") from None


def name_of(choice: Choice, config: AnyConfig) -> str:
    """The folder of a sub-run: `learning_rate=0.001,dropout=0.1`; the same for every spelling of a value."""
    leaves = [setting.rpartition(".")[2] for setting in choice]
    kinds = overrides.types(type(config))
    values = {setting: overrides.parse(setting, text, kinds[setting]) for setting, text in choice.items()}
    words, changed = [], False
    for (setting, value), leaf in zip(values.items(), leaves, strict=True):
        plain = "-".join(map(str, value)) if isinstance(value, tuple) else str(value)
        safe = re.sub(r"[^A-Za-z0-9._+-]+", "_", plain)
        changed |= safe != plain
        words.append(f"{leaf if leaves.count(leaf) == 1 else setting}={safe}")
    name = ",".join(words)
    if changed or len(name) > LONGEST:
        # Values that the name cannot show must still make it unique.
        name = f"{name[:LONGEST]}-{hashlib.sha256(repr(values).encode()).hexdigest()[:8]}"
    return name
