# SPDX-License-Identifier: Apache-2.0
"""How fast batches are read, compared with bare decoding of the same images, and what scaled decoding of JPEGs saves.

    python benchmarks/reading.py --out=benchmarks/results/reading.json

Synthetic JPEGs (smooth noise, quality 95) in memory: crops of 112 px for the batches, photographs of 1,024 px for the
scaling. Bare decoding is Pillow's, with nothing around it: in as many threads, and in as many processes, which share no
interpreter lock. There are as many threads as cores, at most 16 (`taskset -c 0,1` for two). Each round times all in
sequence; ratios are within a round. CPU seconds are given too, since other programs disturb wall time.
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import statistics
import time
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
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
PART = 32  # images of a task of bare decoding: few enough for even shares, and many per task, as in a batch
CROPS: list[bytes] = []  # what the processes decode, which get it by being forked


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


def bare(first: int) -> None:
    """Decode a part of CROPS."""
    for image in CROPS[first : first + PART]:
        np.asarray(Image.open(io.BytesIO(image)))


def bare_in(pool: Executor) -> Callable[[], object]:
    """All of CROPS decoded in a pool."""
    return lambda: list(pool.map(bare, range(0, len(CROPS), PART)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    threads = min(16, cores())
    CROPS.extend(pictures(64 * BATCH, STORED))
    photographs = pictures(24, 1024)
    wall, cpu = [], []
    fork = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(threads, fork) as processes, ThreadPoolExecutor(threads) as pool:
        bare_in(processes)()  # all are forked here, before there are threads
        bare_in(pool)()
        data = batches(Made(CROPS), BATCH, STORED, seed=0, threads=threads)
        for _ in range(args.rounds):
            apart = timed(bare_in(processes))
            plain = timed(bare_in(pool))
            for _ in range(threads + 3):  # what was prefetched meanwhile
                next(data)
            ours = timed(lambda: [next(data) for _ in range(len(CROPS) // BATCH)])
            wall.append(tuple(len(CROPS) / seconds for seconds in (plain[0], apart[0], ours[0])))
            cpu.append((plain[1], ours[1]))
    whole, scaled = [], []
    for _ in range(args.rounds):
        whole.append(timed(lambda: [to_size(decode(image, ""), STORED) for image in photographs])[1])
        scaled.append(timed(lambda: [to_size(decode(image, "", STORED), STORED) for image in photographs])[1])
    result = {
        "threads": threads,
        "images_per_second": {
            "bare decoding": statistics.median(row[0] for row in wall),
            "bare decoding in processes": statistics.median(row[1] for row in wall),
            "batches": statistics.median(row[2] for row in wall),
            "share": statistics.median(row[2] / row[0] for row in wall),
            "share_of_processes": statistics.median(row[2] / row[1] for row in wall),
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
