"""Safetensors files.

Format: https://huggingface.co/docs/safetensors (8 bytes of header length, a JSON header, the tensors).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.json_io import MAX_BYTES, parse_object
from adaptface_jax.core.text import one_line
from adaptface_jax.weights.formats.tensors import Entry, Tensors


def open_file(path: Path) -> Tensors:
    """The tensors of one file; raises InputError if it is truncated or inconsistent."""
    return Tensors(_entries(path), (path,), "safetensors")


def write_file(path: Path, tensors: Mapping[str, np.ndarray], layout: str = "pt") -> None:
    """layout: the framework whose shapes the tensors have, noted in the header. Raises OSError with the path."""
    try:
        safetensors.numpy.save_file(dict(tensors), path, metadata={"format": layout})
    except safetensors.SafetensorError as error:
        number = re.search(r"\(os error (\d+)\)", str(error))  # the library has turned it into text
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from None


def _entries(path: Path) -> dict[str, Entry]:
    # The library checks lengths, offsets, overlaps and sizes. It accepts duplicate keys, so the header is parsed again.
    try:
        with open(path, "rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if length > MAX_BYTES:
                raise ValueError(f"its header claims {length:,} bytes; at most {MAX_BYTES >> 20} MiB are read")
            header = stream.read(length)
        with safetensors.safe_open(path, framework="numpy"):
            pass
        infos = parse_object(header)
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        raise InputError(
            f"{path}: not an intact safetensors file ({one_line(error, 160)}); download the complete file again"
        ) from None
    infos.pop("__metadata__", None)
    return {
        name: Entry(path, info["dtype"], tuple(info["shape"]), 8 + length + info["data_offsets"][0])
        for name, info in infos.items()
    }
