"""A folder's contents by sha256: written when it is complete, checked before it is used.

A folder without a valid manifest was never finished, or is corrupted.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from adaptface_jax.core.files import write_text
from adaptface_jax.core.json_io import to_json

NAME = "manifest.json"
_KEYS = {"facts", "files", "sha256"}


class Damaged(Exception):
    """A folder does not match its manifest; the message says what is wrong."""


@dataclasses.dataclass(frozen=True)
class Manifest:
    """facts: JSON values about the folder. files: relative name -> (size in bytes, sha256 in hex)."""

    facts: dict[str, Any]
    files: dict[str, tuple[int, str]]


def write_manifest(folder: Path, facts: dict[str, Any]) -> Manifest:
    """Hash every file of `folder`, flush everything to disk, then write the manifest: the folder is complete."""
    files = {name: _hash(folder / name, sync=True) for name in _names(folder)}
    for inner in (*sorted({(folder / name).parent for name in files}), folder.parent):
        _sync_folder(inner)
    return _write(folder, Manifest(facts, files))


def change_facts(folder: Path, **changes: Any) -> None:
    """Add to the facts of a complete folder; raises Damaged if its manifest is not intact."""
    manifest = read_manifest(folder)
    _write(folder, dataclasses.replace(manifest, facts={**manifest.facts, **changes}))


def read_manifest(folder: Path) -> Manifest:
    """The manifest without checking its files; raises Damaged."""
    path = folder / NAME
    if not path.is_file():
        raise Damaged(f"it has no {NAME}, so it was never finished")
    try:
        value = json.loads(path.read_bytes())
        if value.keys() != _KEYS or value["sha256"] != _digest(value["facts"], value["files"]):
            raise ValueError
        return Manifest(value["facts"], {name: (size, digest) for name, (size, digest) in value["files"].items()})
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        raise Damaged(f"its {NAME} is corrupted") from None


def verify(folder: Path) -> Manifest:
    """The manifest of a folder whose files are all unchanged; raises Damaged naming the first that is not."""
    manifest = read_manifest(folder)
    for name in sorted(manifest.files.keys() | set(_names(folder))):
        if name not in manifest.files:
            raise Damaged(f"{name} did not exist when it was written")
        try:
            found = _hash(folder / name)
        except OSError:
            raise Damaged(f"{name} is missing or cannot be read") from None
        size, digest = manifest.files[name]
        if found[0] != size:
            raise Damaged(f"{name} has {found[0]:,} bytes, not {size:,}")
        if found[1] != digest:
            raise Damaged(f"the content of {name} has changed (sha256 differs)")
    return manifest


def _write(folder: Path, manifest: Manifest) -> Manifest:
    files = {name: list(entry) for name, entry in manifest.files.items()}
    value = {"facts": manifest.facts, "files": files, "sha256": _digest(manifest.facts, files)}
    write_text(folder / NAME, to_json(value, indent=1) + "\n")
    return manifest


def _digest(facts: Any, files: Any) -> str:
    return hashlib.sha256(json.dumps([facts, files], sort_keys=True).encode()).hexdigest()


def _names(folder: Path) -> list[str]:
    # A hidden file is a manifest that was being replaced.
    found = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return sorted(path.relative_to(folder).as_posix() for path in found if path != folder / NAME)


def _hash(path: Path, sync: bool = False) -> tuple[int, str]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        if sync:
            os.fsync(file.fileno())
        return file.tell(), digest


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
