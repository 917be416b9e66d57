# SPDX-License-Identifier: Apache-2.0
"""Whether an output can be written, checked before anything is computed for it."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable
from pathlib import Path

from adaptface_jax.core import run_names
from adaptface_jax.core.errors import InputError
from adaptface_jax.core.files import clear_remains, clear_remains_in, refuse_file
from adaptface_jax.core.text import one_line, shortened, shown

ROOM = 1 << 20  # bytes that every output may need
LONGEST = 255  # bytes of a name, on every file system in use


def check_file(text: str) -> None:
    """Raises InputError, which begins with the path, unless a file could be written there now.

    A device or pipe can be written to; a link is followed. What a killed process left next to it is removed.
    """
    path = _absolute(text)
    if path.is_dir():
        raise InputError(f"{shown(text)}: is a folder; expected the name of a file")
    if path.exists() and not stat.S_ISREG(path.stat().st_mode):
        return
    if path.name in run_names.ALL and (path.parent / run_names.RUN_FILE).exists():
        raise InputError(f"{shown(text)}: belongs to the run in that folder; choose another name")
    _check_folder(text, path.parent)
    clear_remains(path)


def check_folder(text: str) -> None:
    """Raises InputError, which begins with the path, unless files could be written into a folder there now.

    What a killed process left next to it and in it is removed.
    """
    path = _absolute(text)
    refuse_file(Path(text))
    for link in (Path(text), *Path(text).parents):
        if link.is_symlink() and not link.exists():
            raise InputError(
                f"{shown(text)}: {shown(str(link))} is a link to {shown(os.readlink(link))}, which does not exist; "
                "create that folder, or choose another place"
            )
    _check_folder(text, path)
    clear_remains(path)
    clear_remains_in(path)


def check_inside(folder: Path, files: Iterable[str] = (), folders: Iterable[str] = ()) -> None:
    """Raises InputError if something in `folder` has the name of an output but the wrong kind."""
    for names, wrong, right in ((files, Path.is_dir, "a file"), (folders, Path.is_file, "a folder")):
        for name in names:
            if wrong(folder / name):
                found = "a folder" if right == "a file" else "a file"
                raise InputError(
                    f"{shown(str(folder / name))}: is {found}, and {right} will be written there; move it, or "
                    "choose another place"
                )


def _absolute(text: str) -> Path:
    if not text:
        raise InputError("the path is empty (an unset variable?); expected a path")
    if "\0" in text:
        raise InputError(f"{shown(text)}: has a NUL character; expected a path")
    for name in Path(text).parts:
        if (length := len(os.fsencode(name))) > LONGEST:
            raise InputError(f"{shortened(shown(text), 80)}: a name has {length} bytes; at most {LONGEST} are possible")
    path = Path(os.path.realpath(text))
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:  # links in a circle, 4096 bytes and more
        raise _unwritable(text, error) from None
    return path


def _check_folder(text: str, folder: Path) -> None:
    """`folder` need not exist."""
    for place in (folder, *folder.parents):
        if place.name in run_names.FOLDERS and (place.parent / run_names.RUN_FILE).exists():
            raise InputError(f"{shown(text)}: lies within a run's {place.name}; choose another folder")
    try:
        while not folder.exists():
            folder = folder.parent
        if not folder.is_dir():
            raise InputError(f"{shown(text)}: {shown(str(folder))} is a file; expected a folder")
        if shutil.disk_usage(folder).free < ROOM:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"0")
    except OSError as error:
        raise _unwritable(text, error) from None


def _unwritable(text: str, error: OSError) -> InputError:
    return InputError(f"{shortened(shown(text), 200)}: cannot be written ({one_line(error)}); choose another place")
