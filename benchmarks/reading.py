"""How fast batches are read, compared with bare decoding of the same images, and what scaled decoding of JPEGs saves.

    python benchmarks/reading.py --out=benchmarks/results/reading.json

Synthetic JPEGs (smooth noise, quality 95) in memory: crops of 112 px for the batches, photographs of 1,024 px for the
scaling. Bare decoding is Pillow's, in as many threads, with nothing around it. Each round times both in sequence;
ratios are within a round. CPU seconds are given too, since other programs disturb wall time.
"""

from __future__ import annotations

import argparse
import io
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image
from showing import show

from adaptface_jax.core.processors import cores
from adaptface_jax.data.decode import decode, to_size
from adaptface_jax.data.pipeline import batches
from adaptface_jax.data.record import Record, Source
from adaptface_jax.data.text_array import TextArray

BATCH, STORED = 128, 112


class Made(Source):
    """JPEGs in memory."""

    def __init__(self, images: list[bytes]) -> None:
        self._images = images
        super().__init__(
            np.arange(len(images), dtype=np.int32) % 10, TextArray.of(map(str, range(10))), "made pictures"
        )

    def __getitem__(self, index: int) -> Record:
        return Record(self._images[index], int(self.labels[index]), self.key(index))

    def key(self, index: int) -> str:
        return f"picture {index}"


def pictures(count: int, side: int) -> list[bytes]:
    """JPEGs of smooth noise with some grain."""
    rng, found = np.random.default_rng(0), []
    for _ in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (side // 14, side // 14, 3), dtype=np.uint8))
        pixels = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC), np.int16)
        pixels = (pixels + rng.integers(-6, 7, pixels.shape)).clip(0, 255).astype(np.uint8)
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", quality=95)
        found.append(file.getvalue())
    return found


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """(wall seconds, CPU seconds)."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def bare(image: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(image)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    threads = min(16, cores())
    crops, photographs = pictures(40 * BATCH, STORED), pictures(24, 1024)
    source = Made(crops)
    data = batches(source, BATCH, STORED, seed=0, threads=threads)
    wall, cpu = [], []
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(args.rounds):
            plain = timed(lambda: list(pool.map(bare, crops, chunksize=BATCH)))
            for _ in range(threads + 3):  # what was prefetched meanwhile
                next(data)
            ours = timed(lambda: [next(data) for _ in range(len(crops) // BATCH)])
            wall.append((len(crops) / plain[0], len(crops) / ours[0]))
            cpu.append((plain[1], ours[1]))
    whole, scaled = [], []
    for _ in range(args.rounds):
        whole.append(timed(lambda: [to_size(decode(image, ""), STORED) for image in photographs])[1])
        scaled.append(timed(lambda: [to_size(decode(image, "", STORED), STORED) for image in photographs])[1])
    result = {
        "threads": threads,
        "images_per_second": {
            "bare decoding": statistics.median(row[0] for row in wall),
            "batches": statistics.median(row[1] for row in wall),
            "share": statistics.median(row[1] / row[0] for row in wall),
            "share_of_cpu": statistics.median(row[0] / row[1] for row in cpu),
        },
        "milliseconds_of_a_1024_px_jpeg": {
            "whole": 1000 * statistics.median(whole) / len(photographs),
            "scaled": 1000 * statistics.median(scaled) / len(photographs),
        },
    }
    show(result, args.out)


if __name__ == "__main__":
    main()
