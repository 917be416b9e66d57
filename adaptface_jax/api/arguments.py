# SPDX-License-Identifier: Apache-2.0
"""Messages for a caller in Python: where a command's check says `--far`, they say `far`."""

from __future__ import annotations

import contextlib
import numbers
import re
from collections.abc import Iterator

import numpy as np

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import quoted

_FLAG = re.compile(r"(?<!\S)--(?=[a-z])")
_COMMAND = re.compile(r"adaptface [a-z].*$")  # a command to type stays as it is


@contextlib.contextmanager
def named_in_python() -> Iterator[None]:
    """An InputError raised in the block names arguments instead of flags."""
    try:
        yield
    except InputError as error:
        text = str(error)
        command = _COMMAND.search(text)
        end = command.start() if command else len(text)
        raise InputError(_FLAG.sub("", text[:end]) + text[end:]) from None


def is_yes_or_no(value: object) -> bool:
    """Whether it is True or False, also as 1 or 0 or NumPy's."""
    return isinstance(value, bool | int | np.bool_) and value in (True, False)


def check_yes_no(**given: object) -> None:
    """Raise InputError for arguments that are not True or False: any text would count as True."""
    for name, value in given.items():
        if not is_yes_or_no(value):
            raise InputError(f"{name}: {value!r} is not known; expected True or False")


def check_number(flag: str, value: object) -> None:
    """Raise InputError for an argument that is neither a number nor None."""
    if value is not None and not isinstance(value, numbers.Real):
        raise InputError(f"{flag}: {quoted(value)} is not a number")
