# SPDX-License-Identifier: Apache-2.0
"""Image files on disk: which files in a folder are images, and reading one completely and safely."""

from __future__ import annotations

import operator
import os
import stat
from collections.abc import Container, Iterator, Sequence
from pathlib import Path
from typing import Any

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import shown
from adaptface_jax.data.image_formats import (
    FORMATS,
    HEAD,
    HEIF,
    NO_PICTURE,
    SUFFIXES,
    UNREAD,
    is_heif,
    is_image,
    reads_heif,
)
from adaptface_jax.data.skipped_files import SkippedFiles

# The largest image that is decoded (decode.MAX_PIXELS), uncompressed, fits.
MAX_BYTES = 256 << 20

# How many folders are looked into, on each level, for a dataset that is not where it was named.
MOST_FOLDERS = 32

# Folders that systems and network drives create next to images: thumbnails, trash, macOS metadata.
SYSTEM_FOLDERS = {
    "@eadir", "@tmp", "@recycle", "@recently-snapshot", "#recycle", "#snapshot", "__macosx", "$recycle.bin",
    "system volume information", "lost+found",
}  # fmt: skip


def images_below(
    folder: Path | str, skipped: SkippedFiles, within: Path | None = None, own: Container[str] = ()
) -> Iterator[str]:
    """The image files under a folder, at any depth: paths relative to it, a folder's files before its subfolders,
    both in sorted order.

    A file is an image by its extension (SUFFIXES), or by its first bytes if the extension is inconclusive. Hidden files
    and folders and SYSTEM_FOLDERS are skipped, and so are links to folders within the dataset, whose images would count
    twice.

    skipped: counts every file that is not returned. within: the dataset, if `folder` is one of its folders.
    own: files, by their paths in the folder, that are neither returned nor counted.
    Raises InputError if a folder cannot be listed.
    """
    yield from _below(str(folder), "", skipped, own, (str(within or folder), str(folder)))


def skipped_beside(folder: Path, own: Container[str], reason: str) -> SkippedFiles:
    """The files under a dataset's folder that are not its own (`images_below`).

    reason: why an image there does not belong to the dataset.
    """
    skipped = SkippedFiles()
    number = sum(1 for _ in images_below(folder, skipped, own=own))
    skipped.images[reason] += number
    return skipped


def _below(
    folder: str, inner: str, skipped: SkippedFiles, own: Container[str], above: tuple[str, ...]
) -> Iterator[str]:
    """above: the paths of the dataset and of every link that was followed."""
    folders = []
    for entry in entries_of(os.path.join(folder, inner) if inner else folder):
        directory = is_dir(entry)
        if directory and not is_no_ones(entry.name):
            folders.append(entry)
            continue
        name = os.path.join(inner, entry.name) if inner else entry.name
        if name in own:
            continue
        if directory or why_skipped(entry):
            count_skipped(entry, skipped)
        else:
            yield name
    for entry in folders:
        # Real paths are resolved for links only: they cost more than listing a person's few images.
        real = os.path.realpath(entry.path) if entry.is_symlink() else ""
        places = [os.path.realpath(place) for place in above] if real else []
        if real and (_lies_in(real, places[0]) or any(is_above(entry, place) for place in places)):
            count_skipped(entry, skipped)
        else:
            inside = os.path.join(inner, entry.name)
            yield from _below(folder, inside, skipped, own, (*above, real) if real else above)


def count_skipped(entry: os.DirEntry[str], skipped: SkippedFiles, reason: str = "") -> None:
    """Count an entry that is not read; for a hidden or system folder, every file in it.

    reason: for a file that is an image nevertheless.
    """
    if not is_dir(entry):
        why = why_skipped(entry)
        kind = skipped.images if why in ("", HEIC, LOOSE_LINK) or why in UNREAD else skipped.others
        kind[why or reason] += 1
    elif entry.is_symlink():
        skipped.others["link to a folder in the dataset, or a system folder"] += 1
    else:
        where = "in hidden folders" if entry.name.startswith(".") else f"in {shown(entry.name)}"
        skipped.others[where] += sum(len(files) for _, _, files in os.walk(entry.path))


def why_skipped(entry: os.DirEntry[str]) -> str:
    """Why a file is not read as an image; "" if it is."""
    name = entry.name.lower()
    ending = os.path.splitext(name)[1]
    if name.startswith("."):
        return "hidden"
    if not is_file(entry):  # free, except for links
        return LOOSE_LINK if entry.is_symlink() else "pipe or device"
    if ending in SUFFIXES:
        # Many are JPEG with another extension, and those are read.
        return HEIC if ending in FORMATS[HEIF] and not reads_heif() and is_heif(_head(entry.path)) else ""
    if ending not in UNREAD and ending not in NO_PICTURE and not name.endswith("~"):
        head = _head(entry.path)
        if is_image(head):
            return HEIC if is_heif(head) and not reads_heif() else ""
    return shown(ending) if ending else "without an extension"


LOOSE_LINK = "broken link"
HEIC = "HEIC (to read them: pip install 'adaptface_jax[heic]')"


def _head(path: str) -> bytes:
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            return b""
        with open(path, "rb") as file:
            return file.read(HEAD)
    except OSError:
        return b""


def _lies_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def is_above(entry: os.DirEntry[str], place: str) -> bool:
    """Whether an entry links to `place`, a real path, or to a folder above it."""
    return entry.is_symlink() and _lies_in(place, os.path.realpath(entry.path))


def is_no_ones(name: str) -> bool:
    """Whether a folder of this name is hidden or the system's: neither a person's nor a holder of images."""
    return name.startswith(".") or name.lower() in SYSTEM_FOLDERS


def entries_of(folder: str) -> list[os.DirEntry[str]]:
    """A folder's entries, by name. Raises InputError if it cannot be listed."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=operator.attrgetter("name"))
    except OSError as error:
        raise InputError(f"{shown(folder)}: cannot be listed ({error.strerror}); expected a folder of images") from None


def is_dir(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder or a link to one."""
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def is_file(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a file or a link to one."""
    try:
        return entry.is_file()
    except OSError:  # a link to itself
        return False


def read_file(path: str) -> bytes:
    """The bytes of one image file. Raises InputError if it cannot be read, is not a regular file or is too large."""
    try:
        # Without O_NONBLOCK, a named pipe would wait for a writer forever.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with open(handle, "rb") as file:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                raise InputError(f"{shown(path)}: is not a regular file; expected an image")
            if status.st_size > MAX_BYTES:
                raise InputError(
                    f"{shown(path)}: {status.st_size} bytes are too many for an image; at most {MAX_BYTES} are read"
                )
            return file.read()
    except (OSError, ValueError) as error:  # ValueError: a path with a zero byte
        name, reason = shown(path) or repr(path), getattr(error, "strerror", error)
        if "://" in path:
            raise InputError(f"{name}: is an address; give the path of a file") from None
        raise InputError(f"{name}: cannot be read ({reason})") from None


class ImageFiles(Sequence[bytes]):
    """Every image file under a folder (`images_below`); read on access.

    paths: the files. skipped_files: the other files. Raises InputError if the folder does not exist or has no image.
    """

    def __init__(self, folder: Path):
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder; expected a folder of images")
        self.skipped_files = SkippedFiles()
        self.paths = [os.path.join(folder, name) for name in images_below(folder, self.skipped_files)]
        if not self.paths:
            skipped = "".join(f"; {line}" for line in self.skipped_files.lines())
            raise InputError(f"{folder}: contains no image; expected {' '.join(SUFFIXES)} files{skipped}")

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: Any) -> Any:
        return read_file(self.paths[index])
