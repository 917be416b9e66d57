# SPDX-License-Identifier: Apache-2.0
"""Files that are not what their names say, as downloads and copies leave them, by their first bytes."""

from __future__ import annotations

_UNPACK = "unpack it and give the file inside"
_BEGINNINGS = (
    (b"\x1f\x8b", f"is compressed with gzip; {_UNPACK}"),
    (b"BZh", f"is compressed with bzip2; {_UNPACK}"),
    (b"\xfd7zXZ", f"is compressed with xz; {_UNPACK}"),
    (b"\x28\xb5\x2f\xfd", f"is compressed with zstd; {_UNPACK}"),
    (b"7z\xbc\xaf", f"is a 7-Zip archive; {_UNPACK}"),
    (b"Rar!", f"is a RAR archive; {_UNPACK}"),
    (b"version https://git-lfs", "is the git-LFS pointer of a large file; download the file itself (git lfs pull)"),
)
_PAGES = (b"<!doctype html", b"<html", b"<?xml")
HEAD = 300  # bytes that show what a file is


def mistaken_for(head: bytes) -> str | None:
    """What a file with these first bytes (HEAD or more, or all of them) is instead of its name, and what to do; None
    if that is not known."""
    if not head:
        return "is empty (0 bytes); download it again"
    if head[257:262] == b"ustar":
        return f"is a tar archive; {_UNPACK}"
    if head[:HEAD].lstrip().lower().startswith(_PAGES):
        return "is a web page, not the file; check the address and download again"
    if not head.strip(b"\0"):
        return "holds only zeros; copy or download it again"
    return next((meaning for beginning, meaning in _BEGINNINGS if head.startswith(beginning)), None)
