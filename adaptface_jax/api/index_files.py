"""An index on disk: templates in the layout of the large-scale search benchmarks, names, and a manifest.

`.fbin` (big-ann-benchmarks, read by usearch and DiskANN): int32 rows, int32 columns, then the rows in float32, all
little-endian.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from adaptface_jax.api.gallery import ROWS, Gallery
from adaptface_jax.core.errors import InputError
from adaptface_jax.core.files import check_folder, whole_folder
from adaptface_jax.core.manifest import Damaged, read_manifest, verify, write_manifest
from adaptface_jax.core.text import shown

TEMPLATES, NAMES = "templates.fbin", "names.jsonl"
WHAT = "a face index"
_HEADER = np.dtype("<i4")
_VALUE = np.dtype("<f4")


def check_place(folder: Path, *, overwrite: bool) -> None:
    """Raises InputError if `write_index` would, before anything is computed for it."""
    check_folder(folder, overwrite=overwrite, marker=TEMPLATES, what=WHAT)


def write_index(folder: Path, gallery: Gallery, facts: dict[str, Any], *, overwrite: bool) -> None:
    """Write the gallery atomically. facts: about the model; `model` is its fingerprint.

    Raises InputError if the folder is a file, or holds anything other than an index that may be overwritten.
    """
    with whole_folder(folder, overwrite=overwrite, marker=TEMPLATES, what=WHAT) as scratch:
        with open(scratch / TEMPLATES, "wb") as file:
            file.write(np.array([len(gallery), gallery.width], _HEADER).tobytes())
            for rows in gallery.templates():
                file.write(np.ascontiguousarray(rows, _VALUE).data)
        with open(scratch / NAMES, "w", encoding="ascii") as file:
            file.writelines(json.dumps(name) + "\n" for name in gallery.names())
        write_manifest(scratch, facts)


def read_index(folder: Path, model: str) -> Gallery:
    """The gallery in a folder.

    model: the fingerprint it must have. Raises InputError if it has another, is corrupted, or does not exist.
    """
    where = shown(str(folder))
    if not (folder / TEMPLATES).is_file():
        raise InputError(f"{where}: holds no face index (no {TEMPLATES}); expected a folder that Index.save wrote")
    try:
        facts = verify(folder).facts
        if facts.get("model") != model:
            raise InputError(
                f"{where}: is the index of another model ({described(facts)}), whose embeddings are not comparable "
                "with this one's; open that model, or index the people again"
            )
        return _read(folder)
    except (Damaged, ValueError, OSError) as error:
        raise InputError(f"{where}: the index is corrupted ({error}); save it again") from None


def flags_of(folder: Path) -> dict[str, Any]:
    """The flags (`cli.model_flags`) that open an index's model, without `--`.

    Raises InputError if the folder holds no index, or the model has moved.
    """
    where = shown(str(folder))
    if not (folder / TEMPLATES).is_file():
        raise InputError(f"{where}: holds no face index (no {TEMPLATES}); expected a folder that Index.save wrote")
    try:
        facts = read_manifest(folder).facts
        opened = facts["opened"]
        found: dict[str, Any]
        if "run" in opened:
            found = {"run": opened["run"], "checkpoint": str(opened["step"])}
        else:
            found = {"backbone": opened["backbone"]["source"], "image_size": opened["image_size"]}
            found |= {name: facts[name] for name in ("stored_size", "feature") if name in facts}
    except (Damaged, KeyError, TypeError) as error:
        raise InputError(f"{where}: the index is corrupted ({error}); save it again") from None
    if "run" in found and not Path(found["run"]).is_dir():
        raise InputError(
            f"{where}: was made with the run {shown(found['run'])}, which does not exist; name it with --run"
        )
    return found


def _read(folder: Path) -> Gallery:
    with open(folder / TEMPLATES, "rb") as file, open(folder / NAMES, encoding="ascii") as names:
        count, width = np.fromfile(file, _HEADER, 2).tolist()
        if min(count, width) < 0 or os.fstat(file.fileno()).st_size != 8 + 4 * count * width:
            raise ValueError(f"{TEMPLATES} does not hold {count} x {width} numbers")
        gallery = Gallery(width)
        for start in range(0, count, ROWS):
            rows = min(ROWS, count - start)
            templates = np.fromfile(file, _VALUE, rows * width).reshape(rows, width)
            gallery = gallery.added([json.loads(names.readline()) for _ in range(rows)], templates)
    return gallery


def described(facts: dict[str, Any]) -> str:
    """The model of an index, as text."""
    opened = facts.get("opened") or {}
    name = (opened.get("backbone") or {}).get("name", "unknown")
    return f"{shown(str(opened['run']))}, step {opened.get('step')}" if "run" in opened else f"backbone {name}"
