"""The page under load: many clients for a while, then hostile uploads; answers, times and the server's memory.

    python benchmarks/serving_load.py --run=runs/demo --out=benchmarks/results/serving_load.json

Each client repeatedly compares two photographs of 112 x 112 pixels over its own connection. The server is a separate
process that shares the processors with the clients. A client that is told to try again (503) counts as refused.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import io
import json
import os
import signal
import statistics
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image

from adaptface_jax.core.environment import processor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", required=True)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    with served(args.run) as (address, pid):
        found = asyncio.run(measured(address, pid, args.clients, args.seconds))
    found = {"machine": f"{processor()}, {os.cpu_count()} cores", "clients": args.clients} | found
    text = json.dumps(found, indent=2) + "\n"
    print(text)
    if args.out:
        args.out.write_text(text)


@contextlib.contextmanager
def served(run: str) -> Iterator[tuple[str, int]]:
    """The address and process of a server, ended by SIGTERM with status 0."""
    words = [sys.executable, "-m", "adaptface_jax.serve", f"--run={run}", "--port=0"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            line = next(line for line in process.stdout if line.startswith("serving: "))
            yield line.split()[1], process.pid
        finally:
            process.send_signal(signal.SIGTERM)
            process.stdout.read()
    if process.returncode:
        raise RuntimeError(f"the server ended with {process.returncode}")


async def measured(address: str, pid: int, clients: int, seconds: float) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    files = [png(rng.integers(0, 256, (112, 112, 3), dtype=np.uint8)) for _ in range(16)]
    statuses: collections.Counter[str] = collections.Counter()
    times: list[float] = []
    memory = [resident(pid)]
    end = time.monotonic() + seconds

    async def client(number: int) -> None:
        async with httpx.AsyncClient(base_url=address, timeout=120) as session:
            turn = number
            while time.monotonic() < end:
                pair = {"first": files[turn % 16], "second": files[(turn + 1) % 16]}
                start = time.monotonic()
                answer = await session.post("/verify", files=pair)
                statuses[str(answer.status_code)] += 1
                times.append(time.monotonic() - start)
                turn += 1

    async def watch() -> None:
        while time.monotonic() < end:
            await asyncio.sleep(seconds / 12)
            memory.append(resident(pid))

    start = time.monotonic()
    await asyncio.gather(watch(), *map(client, range(clients)))
    took = time.monotonic() - start
    hostile = await refusals(address, files[0])
    memory.append(resident(pid))
    return {
        "seconds": round(took, 1),
        "answers": dict(statuses),
        "answers_per_second": round(len(times) / took, 1),
        "median_seconds": round(statistics.median(times), 3),
        "slowest_seconds": round(max(times), 3),
        "resident_mib": memory,
        "hostile": hostile,
    }


async def refusals(address: str, valid: bytes) -> dict[str, Any]:
    """The answers to hostile uploads, and to a valid one after them."""
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1 << 20)))
    sent = {"a PNG of 60,000 x 60,000": bomb, "text as JPEG": b"hello", "100 MB": valid + bytes(100_000_000)}
    result = {}
    async with httpx.AsyncClient(base_url=address, timeout=120) as session:
        for name, data in {**sent, "a valid one after them": valid}.items():
            files = {"first": ("a.jpg", data, "image/jpeg"), "second": valid}
            answer = await session.post("/verify", files=files)
            result[name] = [answer.status_code, answer.json().get("error", "answered")]
    return result


def chunk(kind: bytes, data: bytes) -> bytes:
    """Of a PNG file."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def resident(pid: int) -> int:
    """MiB of memory that a process uses."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) >> 10
    raise RuntimeError("/proc says nothing of the process' memory")


if __name__ == "__main__":
    main()
