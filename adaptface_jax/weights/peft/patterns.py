"""`rank_pattern` and `alpha_pattern` of PEFT: regular expressions from a file, matched where that is quick.

PEFT matches `(.*\\.)?(KEY)$` against a module's name, and the first key that matches counts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

MAX_PATTERNS = 16  # keys that are no plain names

_NAME = re.compile(r"\^?[A-Za-z0-9_.-]{1,300}")
_ATOM = r"(?:[A-Za-z0-9_-]|\\[.dw_-]|\.|\[\^?[A-Za-z0-9_.-]{1,40}\])"
_PATTERN = re.compile(rf"\^?(?:{_ATOM}(?:[*+?]|\{{\d{{1,2}}\}})?|\((?:\?:)?|\)|\|)*\$?")
_BARS = (40, 40, 3)  # alternatives beside so many quantifiers: what a match costs stays below a million steps


def is_quick(key: str) -> bool:
    """Whether a key is a name, or a regular expression that never takes long: no group repeats, and little else."""
    if _NAME.fullmatch(key):
        return True
    many = len(re.findall(r"(?<!\()[*+?{]", key))
    if len(key) > 300 or key.count("(") > 1 or many >= len(_BARS) or key.count("|") > _BARS[many]:
        return False
    try:
        re.compile(_whole(key))
    except re.error:
        return False
    return _PATTERN.fullmatch(key) is not None


def are_few(keys: Mapping[str, Any]) -> bool:
    """Whether not too many of the keys are patterns."""
    return sum(_NAME.fullmatch(key) is None for key in keys) <= MAX_PATTERNS


def by_pattern(values: Mapping[str, Any], name: str, default: Any) -> Any:
    """The value of the first key that matches the module `name`."""
    return next((value for key, value in values.items() if re.match(_whole(key), name)), default)


def _whole(key: str) -> str:
    return rf"(?:.*\.)?(?:{key})$"
