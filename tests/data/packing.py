"""Small writers of the outside formats, from the formats' descriptions, so that tests can make and break them."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

MAGIC = struct.pack("<I", 0xCED7230A)


def picture(seed: int, width: int = 112, height: int = 112) -> np.ndarray:
    """uint8 [H, W, 3], smooth and colorful, different for every seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (7, 7, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def encoded(image: np.ndarray, form: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, form, **options)
    return file.getvalue()


def frame(payload: bytes) -> bytes:
    """RecordIO: the payload is split at aligned magic numbers inside it, which are left out."""
    cuts = [at for at in range(0, len(payload) // 4 * 4, 4) if payload[at : at + 4] == MAGIC]
    starts, ends = [0, *(at + 4 for at in cuts)], [*cuts, len(payload)]
    parts = [payload[start:end] for start, end in zip(starts, ends, strict=True)]
    kinds = [0] if len(parts) == 1 else [1, *[2] * (len(parts) - 2), 3]
    return b"".join(
        MAGIC + struct.pack("<I", kind << 29 | len(part)) + part + b"\0" * (-len(part) % 4)
        for kind, part in zip(kinds, parts, strict=True)
    )


def header(label: float | tuple[float, ...], key: int = 0) -> bytes:
    """One label in the header, or several after it."""
    if isinstance(label, tuple):
        return struct.pack(f"<IfQQ{len(label)}f", len(label), 0.0, key, 0, *label)
    return struct.pack("<IfQQ", 0, label, key, 0)


def write_records(folder: Path, payloads: Iterable[tuple[int, bytes]], classes: int = 2) -> Path:
    """`train.rec`, `train.idx` and `property` of keyed payloads."""
    content, index = b"", ""
    for key, payload in payloads:
        index += f"{key}\t{len(content)}\n"
        content += frame(payload)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "train.rec").write_bytes(content)
    (folder / "train.idx").write_text(index)
    (folder / "property").write_text(f"{classes},112,112")
    return folder


def identity_payloads(people: dict[float, list[bytes]], first_key: int = 1) -> list[tuple[int, bytes]]:
    """The identity layout: images from key 1, then one record per identity, and record 0 pointing to those."""
    images, ranges, key = [], [], first_key
    for label, files in people.items():
        start = key
        for file in files:
            images.append((key, header((label, 0.0) if key % 2 else label, key) + file))
            key += 1
        ranges.append((float(start), float(key)))
    identities = [(key + i, header(span, key + i)) for i, span in enumerate(ranges)]
    return [*images, *identities, (0, header((float(key), float(key + len(ranges)))))]
