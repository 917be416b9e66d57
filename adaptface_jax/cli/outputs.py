# SPDX-License-Identifier: Apache-2.0
"""Flags that name what a command writes: refused at once if it cannot be written."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from adaptface_jax.core import outputs
from adaptface_jax.core.errors import InputError


def output_file(text: str) -> str:
    """The `type` of a flag that names a file to write."""
    return _checked(outputs.check_file, text)


def output_folder(text: str) -> str:
    """The `type` of a flag that names a folder to write to."""
    return _checked(outputs.check_folder, text)


def _checked(check: Callable[[str], None], text: str) -> str:
    try:
        check(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text
