"""Image files on disk: which names count as one, and reading one whole without being fooled by what it is."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import shown
from adaptface_jax.data.decode import SUFFIXES

# The largest image that is decoded (decode.MAX_PIXELS), uncompressed, fits.
MAX_BYTES = 256 << 20


def is_image_name(name: str) -> bool:
    """By ending; hidden files are none (an archive from a Mac has `._anna.jpg` beside `anna.jpg`)."""
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


def read_file(path: str) -> bytes:
    """The bytes of one image file. Raises InputError where it cannot be read, is no regular file or is too large."""
    try:
        # Without O_NONBLOCK a named pipe would wait for a writer for ever.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with open(handle, "rb") as file:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                raise InputError(f"{shown(path)}: is no regular file; expected an image")
            if status.st_size > MAX_BYTES:
                raise InputError(f"{shown(path)}: {status.st_size} bytes are no image; at most {MAX_BYTES} are read")
            return file.read()
    except OSError as error:
        raise InputError(f"{shown(path)}: cannot be read ({error.strerror})") from None


class ImageFiles(Sequence[bytes]):
    """Every image file below a folder, at any depth, in sorted order; read when asked for.

    paths: the files. Raises InputError where there is no folder or no image in it.
    """

    def __init__(self, folder: Path):
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder; expected a folder of images")
        self.paths = [
            os.path.join(parent, name)
            for parent, _, names in sorted(os.walk(folder))
            for name in sorted(names)
            if is_image_name(name)
        ]
        if not self.paths:
            raise InputError(f"{folder}: no image below it; expected files of {' '.join(SUFFIXES)}")

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: Any) -> Any:
        return read_file(self.paths[index])
