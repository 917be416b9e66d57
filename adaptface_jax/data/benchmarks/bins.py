# SPDX-License-Identifier: Apache-2.0
"""InsightFace verification packs (`.bin`): a pickle of encoded images and whether each pair of them matches."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.mistaken import mistaken_for
from adaptface_jax.core.restricted_pickle import RefusedPickle
from adaptface_jax.core.text import plural
from adaptface_jax.data.benchmarks.benchmark import Benchmark
from adaptface_jax.data.benchmarks.bin_pickle import plain, read_plain_pickle

_STOP = b"."


def open_bin(path: Path) -> Benchmark:
    """Reads `(bins, issame)`: 2N images (bytes, or arrays: encoded 1-D or [N, 1] as from older `cv2.imencode`, decoded
    [H, W, 3], or gray [H, W]) and N booleans.

    Pair i is images 2i and 2i + 1. Packs repeat images; equal ones are stored, and later embedded, once.
    Raises InputError for a file that is missing, not such a pickle, hostile (none of it is executed) or inconsistent.
    """
    expected = "expected an InsightFace pack (bins, issame) as its own tools write it"
    try:
        data = path.read_bytes()
        if (mistaken := mistaken_for(data)) is not None:
            raise RefusedPickle(f"it {mistaken}")
        content = read_plain_pickle(data)
        bins, issame = _pair(content)
        issame = _truths(issame)
        if len(bins) != 2 * len(issame) or not len(issame):
            raise RefusedPickle(f"it holds {plural(len(bins), 'image')} for {plural(len(issame), 'pair')}")
        images, index = _distinct(bins)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); {expected}") from None
    except RefusedPickle as error:
        cut = "" if mistaken or data.endswith(_STOP) else ", and its end is missing: download or copy it again"
        raise InputError(f"{path}: refused: {error}{cut}; {expected}") from None
    return Benchmark(images, index, issame, f"InsightFace pack {path}")


def _pair(content: object) -> tuple[list, object]:
    if not isinstance(content, (tuple, list)) or len(content) != 2 or not isinstance(content[0], (list, tuple)):
        raise RefusedPickle("it is not a pair of lists")
    return list(content[0]), content[1]


def _truths(values: object) -> np.ndarray:
    values = plain(values)
    if isinstance(values, np.ndarray):
        values = values.ravel().tolist()
    if not isinstance(values, (list, tuple)) or not all(isinstance(v, int) and v in (0, 1) for v in values):
        raise RefusedPickle("its labels are not all true or false")
    return np.array(values, bool)


def _distinct(bins: list) -> tuple[list[bytes | np.ndarray], np.ndarray]:
    """The distinct images in order of appearance, and int32 [2N], the index of each entry among them."""
    images: list[bytes | np.ndarray] = []
    index = np.empty(len(bins), np.int32)
    place: dict[bytes, int] = {}
    seen: dict[int, np.int32] = {}  # a pickle may name one object any number of times
    for i, entry in enumerate(bins):
        if (again := seen.get(id(entry))) is not None:
            index[i] = again
            continue
        image = _image(plain(entry))
        digest = hashlib.sha256(image if isinstance(image, bytes) else repr(image.shape).encode() + image.tobytes())
        index[i] = place.setdefault(digest.digest(), len(images))
        if index[i] == len(images):
            images.append(image)
        seen[id(entry)] = index[i]
    return images, index


def _image(entry: object) -> bytes | np.ndarray:
    if isinstance(entry, bytes):
        return entry
    if isinstance(entry, np.ndarray) and entry.dtype == np.uint8:
        if entry.ndim > 1 and entry.size == max(entry.shape):
            return entry.tobytes()
        if entry.ndim == 2 or (entry.ndim == 3 and entry.shape[2] == 1):
            return np.repeat(entry.reshape(*entry.shape[:2], 1), 3, axis=2)
        if entry.ndim == 3:
            return entry
        if entry.ndim == 1:
            return entry.tobytes()
    raise RefusedPickle("an image is neither bytes nor a uint8 array")
