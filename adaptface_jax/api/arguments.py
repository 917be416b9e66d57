"""Messages for a caller in Python: where a command's check says `--far`, they say `far`."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

from adaptface_jax.core.errors import InputError

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
