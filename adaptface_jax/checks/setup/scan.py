# SPDX-License-Identifier: Apache-2.0
"""One pass over images: whether they are readable, how large, how bright, and digests of their content."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import PIL.Image

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.progress import Progress
from adaptface_jax.core.text import plural
from adaptface_jax.data.benchmarks.benchmark import Benchmark
from adaptface_jax.data.decode import decode
from adaptface_jax.data.record import Source

# Below this standard deviation of its pixels (of 255) an image is blank: black, white or one color.
BLANK = 2.0

# Side of the gray thumbnail by which resized and re-encoded copies are found.
THUMBNAIL = 12

# Images per task of the thread pool, and pending tasks at a time: a scan of millions must not queue them all.
_CHUNK, _BLOCK = 32, 8192


@dataclasses.dataclass(frozen=True)
class Scan:
    """One row per scanned image, of `total` in the set.

    numbers int64 [n]; good bool [n], decoded; label int64 [n], from its record (-1 in a benchmark);
    content, pixels: 128 bits of the sha256 of the encoded bytes and of the decoded pixels, as void [n];
    height, width int32 [n]; mean float32 [n, 3] and spread float32 [n], of its pixels;
    thumbnail uint8 [n, 144], gray.
    failures: (number, reason) of those that cannot be read or decoded.
    """

    total: int
    numbers: np.ndarray
    good: np.ndarray
    label: np.ndarray
    content: np.ndarray
    pixels: np.ndarray
    height: np.ndarray
    width: np.ndarray
    mean: np.ndarray
    spread: np.ndarray
    thumbnail: np.ndarray
    failures: tuple[tuple[int, str], ...]

    @property
    def blank(self) -> np.ndarray:
        """Numbers of the blank images."""
        return self.numbers[self.good & (self.spread < BLANK)]

    @property
    def complete(self) -> bool:
        return len(self.numbers) == self.total

    @property
    def of(self) -> str:
        """ "400 images", or "1,000 of 494,414 images"."""
        total = plural(self.total, "image")
        return total if self.complete else f"{len(self.numbers):,} of {total}"


_ROW = np.dtype(
    [
        ("good", bool), ("label", np.int64), ("content", "V16"), ("pixels", "V16"), ("height", np.int32),
        ("width", np.int32), ("mean", np.float32, 3), ("spread", np.float32), ("thumbnail", np.uint8, THUMBNAIL**2),
    ]
)  # fmt: skip

Image = bytes | np.ndarray


def scan_source(source: Source, limit: int | None, seed: int) -> Scan:
    """Scan `limit` records, drawn with `seed` without replacement, or all of them (None)."""

    def read(number: int) -> tuple[Image, int, str]:
        record = source[number]
        return record.image, record.label, record.key

    return _scan(read, len(source), _drawn(len(source), limit, seed), "reading the training images")


def scan_images(benchmark: Benchmark, name: str) -> Scan:
    """Scan every image of a benchmark."""
    images: Sequence[Image] = benchmark.images
    everything = np.arange(len(images))
    return _scan(lambda i: (images[i], -1, f"image {i}"), len(images), everything, f"reading {name}")


def _drawn(total: int, limit: int | None, seed: int) -> np.ndarray:
    if limit is None or limit >= total:
        return np.arange(total)
    return np.sort(np.random.default_rng(seed).choice(total, limit, replace=False))


def _scan(read: Callable[[int], tuple[Image, int, str]], total: int, numbers: np.ndarray, title: str) -> Scan:
    rows = np.zeros(len(numbers), _ROW)
    failures: list[tuple[int, str]] = []

    def look(start: int) -> list[tuple[int, str]]:
        failed = []
        for place in range(start, min(start + _CHUNK, len(numbers))):
            number = int(numbers[place])
            try:
                rows[place] = _row(*read(number))
            except InputError as error:
                failed.append((number, str(error)))
        return failed

    done = 0
    with Progress(len(numbers), label=title, unit="image", brief=True) as progress, ThreadPoolExecutor() as pool:
        for block in range(0, len(numbers), _BLOCK):
            for failed in pool.map(look, range(block, min(block + _BLOCK, len(numbers)), _CHUNK)):
                failures += failed
                done = min(done + _CHUNK, len(numbers))
                progress.show(done)
    fields = {name: rows[name] for name in _ROW.names or ()}
    return Scan(total, numbers, failures=tuple(failures), **fields)


def _row(image: Image, label: int, key: str) -> tuple:
    decoded = decode(image, key)
    pixels = _digest(repr(decoded.shape).encode(), np.ascontiguousarray(decoded).data)
    content = _digest(image) if isinstance(image, bytes) else pixels
    small = PIL.Image.fromarray(decoded).convert("L").resize((THUMBNAIL, THUMBNAIL), PIL.Image.Resampling.BOX)
    mean, spread, thumbnail = decoded.mean(axis=(0, 1)), decoded.std(), np.asarray(small).ravel()
    return (True, label, content, pixels, *decoded.shape[:2], mean, spread, thumbnail)


def _digest(*parts: bytes | memoryview) -> bytes:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.digest()[:16]
