"""Image files on disk: which files of a folder are images, and reading one whole without being fooled by what it is."""

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

# Folders that systems and network drives make beside the pictures: thumbnails, waste, notes of a Mac.
SYSTEM_FOLDERS = {
    "@eadir", "@tmp", "@recycle", "@recently-snapshot", "#recycle", "#snapshot", "__macosx", "$recycle.bin",
    "system volume information", "lost+found",
}  # fmt: skip


def images_below(
    folder: Path | str, skipped: SkippedFiles, within: Path | None = None, own: Container[str] = ()
) -> Iterator[str]:
    """The image files below a folder, at any depth: paths relative to it, those of a folder before those of its
    folders, both in sorted order.

    A file is an image by its ending (SUFFIXES), and by its first bytes where its ending says nothing. Hidden files and
    folders and SYSTEM_FOLDERS are none, nor are links to folders of the set, in which a picture would count twice.

    skipped: counts every file that is not given. within: the set, where `folder` is one of its folders.
    own: files, by their paths in the folder, that are neither given nor counted.
    Raises InputError if a folder cannot be listed.
    """
    yield from _below(str(folder), "", skipped, own, (str(within or folder), str(folder)))


def skipped_beside(folder: Path, own: Container[str], reason: str) -> SkippedFiles:
    """What lies below the folder of a set beside its own files (`images_below`).

    reason: why a picture there is none of the set's.
    """
    skipped = SkippedFiles()
    number = sum(1 for _ in images_below(folder, skipped, own=own))
    skipped.images[reason] += number
    return skipped


def _below(
    folder: str, inner: str, skipped: SkippedFiles, own: Container[str], above: tuple[str, ...]
) -> Iterator[str]:
    """above: the paths of the set and of every link that was followed."""
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
        # Real paths are asked for at links alone: they cost more than the listing of a person's few pictures.
        real = os.path.realpath(entry.path) if entry.is_symlink() else ""
        places = [os.path.realpath(place) for place in above] if real else []
        if real and (_lies_in(real, places[0]) or any(is_above(entry, place) for place in places)):
            count_skipped(entry, skipped)
        else:
            inside = os.path.join(inner, entry.name)
            yield from _below(folder, inside, skipped, own, (*above, real) if real else above)


def count_skipped(entry: os.DirEntry[str], skipped: SkippedFiles, reason: str = "") -> None:
    """Count an entry that is not read; of a folder that is no one's every file in it.

    reason: of a file that is an image all the same.
    """
    if not is_dir(entry):
        why = why_skipped(entry)
        kind = skipped.images if why in ("", HEIC, LOOSE_LINK) or why in UNREAD else skipped.others
        kind[why or reason] += 1
    elif entry.is_symlink():
        skipped.others["link to a folder of the set, or of no one"] += 1
    else:
        where = "in hidden folders" if entry.name.startswith(".") else f"in {shown(entry.name)}"
        skipped.others[where] += sum(len(files) for _, _, files in os.walk(entry.path))


def why_skipped(entry: os.DirEntry[str]) -> str:
    """Why a file is no image that is read, "" if it is one."""
    name = entry.name.lower()
    ending = os.path.splitext(name)[1]
    if name.startswith("."):
        return "hidden"
    if not is_file(entry):  # costs nothing but for links
        return LOOSE_LINK if entry.is_symlink() else "pipe or device"
    if ending in SUFFIXES:
        # Many are JPEG under another name, and those are read.
        return HEIC if ending in FORMATS[HEIF] and not reads_heif() and is_heif(_head(entry.path)) else ""
    if ending not in UNREAD and ending not in NO_PICTURE and not name.endswith("~"):
        head = _head(entry.path)
        if is_image(head):
            return HEIC if is_heif(head) and not reads_heif() else ""
    return shown(ending) if ending else "without an ending"


LOOSE_LINK = "link to nothing"
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
    """Whether an entry is a link to `place`, a real path, or to a folder above it."""
    return entry.is_symlink() and _lies_in(place, os.path.realpath(entry.path))


def is_no_ones(name: str) -> bool:
    """Whether a folder of this name is hidden or the system's: no person, and no pictures of one."""
    return name.startswith(".") or name.lower() in SYSTEM_FOLDERS


def entries_of(folder: str) -> list[os.DirEntry[str]]:
    """What is in a folder, by name. Raises InputError if it cannot be listed."""
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
    """The bytes of one image file. Raises InputError if it cannot be read, is no regular file or is too large."""
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
    """Every image file below a folder (`images_below`); read when asked for.

    paths: the files. skipped_files: the other files. Raises InputError if there is no folder or no image in it.
    """

    def __init__(self, folder: Path):
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder; expected a folder of images")
        self.skipped_files = SkippedFiles()
        self.paths = [os.path.join(folder, name) for name in images_below(folder, self.skipped_files)]
        if not self.paths:
            skipped = "".join(f"; {line}" for line in self.skipped_files.lines())
            raise InputError(f"{folder}: no image below it; expected files of {' '.join(SUFFIXES)}{skipped}")

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: Any) -> Any:
        return read_file(self.paths[index])
