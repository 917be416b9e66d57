"""Embeddings in a file: `.npz` for NumPy, `.parquet` for tables and databases."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from adaptface_jax.api.faces import Faces
from adaptface_jax.core.errors import InputError
from adaptface_jax.core.files import whole_file
from adaptface_jax.core.text import shown
from adaptface_jax.models.recognizer import Recognizer

ENDINGS = (".npz", ".parquet")
GROUP = 4096  # rows of a Parquet file written, and held in memory, at a time


def check_face_file(out: Path, names: Sequence[str]) -> None:
    """Raise InputError for a file that `write_faces` cannot write with these names, before anything is computed."""
    if out.suffix not in ENDINGS:
        raise InputError(f"--out: {shown(str(out))} ends in neither {' nor '.join(ENDINGS)}; choose one of them")
    if out.is_dir():
        raise InputError(f"--out: {shown(str(out))} is a folder; expected the name of a file")
    if out.suffix == ".npz":
        return
    try:
        import pyarrow.parquet  # noqa: F401  (.npz need not wait a tenth of a second for it)
    except ImportError:
        raise InputError("--out: .parquet needs pyarrow; install it with: pip install pyarrow, or write .npz") from None
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise InputError(
                f"{shown(name)}: this name is not UTF-8, which .parquet requires; rename it, or write .npz"
            ) from None


def write_faces(out: Path, batches: Iterator[Faces], recognizer: Recognizer) -> None:
    """Write faces atomically, as they arrive: `.npz` holds all of them in memory, `.parquet` GROUP of them.

    .npz: arrays `embeddings` (raw, float32 [N, E]), `features` (float32 [N, d]), `paths` and, for DA-LoRA, `gates`
    (float32 [N, K]). .parquet: the same as columns `path`, `embedding`, `feature`, `gates`, lists of float32. `paths`
    are the faces' own.
    """
    with whole_file(out) as file:
        if out.suffix == ".npz":
            write_npz(file, Faces.joined(list(batches), recognizer))
        else:
            write_parquet(file, batches)


def write_npz(file: IO[bytes], faces: Faces) -> None:
    """The arrays of an .npz file."""
    arrays: dict[str, Any] = {"embeddings": faces.raw, "features": faces.features, "paths": np.array(faces.paths)}
    if faces.gates is not None:
        arrays["gates"] = faces.gates
    np.savez(file, **arrays)


def write_parquet(file: IO[bytes], batches: Iterator[Faces]) -> None:
    """The columns of a Parquet file, a row group at a time; at least one batch."""
    import pyarrow as pa
    from pyarrow import parquet

    def rows(faces: Faces) -> Any:
        columns = {"path": pa.array(faces.paths, pa.string())}
        for name, values in (("embedding", faces.raw), ("feature", faces.features), ("gates", faces.gates)):
            if values is not None:
                ends = np.arange(0, values.size + 1, values.shape[1], dtype=np.int32)
                columns[name] = pa.ListArray.from_arrays(ends, np.ascontiguousarray(values).ravel())
        return pa.table(columns)

    waiting = []
    writer: Any = None
    try:
        for faces in batches:
            waiting.append(rows(faces))
            writer = writer or parquet.ParquetWriter(file, waiting[0].schema)
            if sum(map(len, waiting)) >= GROUP:
                writer.write_table(pa.concat_tables(waiting))
                waiting = []
        if waiting:
            writer.write_table(pa.concat_tables(waiting))
    finally:
        if writer is not None:
            writer.close()
