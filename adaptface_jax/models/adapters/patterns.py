# SPDX-License-Identifier: Apache-2.0
"""`rank_pattern` and `alpha_pattern` of PEFT: untrusted regular expressions, matched only if that is fast.

PEFT matches `(.*\\.)?(KEY)$` against a module's name, and the first key that matches counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

Value = TypeVar("Value", int, float)

MAX_PATTERNS = 16  # keys that are not plain names

_NAME = re.compile(r"\^?[A-Za-z0-9_.-]{1,300}")
_ATOM = r"(?:[A-Za-z0-9_-]|\\[.dw_-]|\.|\[\^?[A-Za-z0-9_.-]{1,40}\])"
_PATTERN = re.compile(rf"\^?(?:{_ATOM}(?:[*+?]|\{{\d{{1,2}}\}})?|\((?:\?:)?|\)|\|)*\$?")
_GROUPS = (2, 2, 1)  # by number of quantifiers, like
_BARS = (40, 40, 3)  # alternatives: a match stays below a million steps


def is_quick(key: str) -> bool:
    """Whether a key is a name, or a regular expression that is always fast: no repeated group, few quantifiers."""
    if _NAME.fullmatch(key):
        return True
    many = len(re.findall(r"(?<!\()[*+?{]", key))
    if len(key) > 300 or many >= len(_BARS) or key.count("(") > _GROUPS[many] or key.count("|") > _BARS[many]:
        return False
    try:
        re.compile(_whole(key))
    except re.error:
        return False
    return _PATTERN.fullmatch(key) is not None


def are_few(keys: Mapping[str, Any]) -> bool:
    """Whether few enough of the keys are patterns."""
    return sum(_NAME.fullmatch(key) is None for key in keys) <= MAX_PATTERNS


def key_of(keys: Iterable[str], name: str) -> str | None:
    """The first key that matches the module `name`."""
    return next((key for key in keys if re.match(_whole(key), name)), None)


def by_pattern(values: Mapping[str, Any], name: str, default: Any) -> Any:
    """The value of the first key that matches the module `name`."""
    key = key_of(values, name)
    return default if key is None else values[key]


def to_pattern(values: Mapping[str, Mapping[int, Value]], default: Value) -> dict[str, Value]:
    """The pattern that gives each module its value: names with `{i}` -> block -> value.

    A module with one value in all of its blocks is named without them; one with the default is not named.
    """
    result: dict[str, Value] = {}
    for name, blocks in values.items():
        if len(set(blocks.values())) == 1:
            result[name.partition("{i}.")[2]] = next(iter(blocks.values()))
        else:
            result |= {name.replace("{i}", str(block)): value for block, value in blocks.items()}
    return {key: value for key, value in result.items() if value != default}


def _whole(key: str) -> str:
    return rf"(?:.*\.)?(?:{key})$"
