"""One set of pairs in every published format, for tests."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from adaptface_jax.data.benchmarks.benchmark import Benchmark
from adaptface_jax.data.benchmarks.from_path import open_benchmark


def face(seed: int, size: int = 8) -> bytes:
    """A small encoded image, different for every seed."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def write_faces(folder: Path, names: list[str]) -> None:
    for seed, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(face(seed))


def att_forms(shared_data: Path, folder: Path) -> dict[str, Benchmark]:
    """The AT&T pairs as a pack, an LFW folder and a table, with the same images."""
    source = shared_data / "att_faces"
    pack = open_benchmark(str(source / "att.bin"))
    rows = [line.split() for line in (source / "att_pairs.txt").read_text().splitlines()]
    named = {}
    for number, name in enumerate(name for first, second, _ in rows for name in (first, second)):
        person, image = name.removesuffix(".png").split("/")
        path = folder / person / f"{person}_{int(image):04d}.jpg"
        named[name] = person, int(image), path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pack.images[pack.index[number]])
    listed, table = ["10\t30"], ["path1,path2,same"]
    for first, second, same in rows:
        (person, i, path), (other, j, other_path) = named[first], named[second]
        listed.append(f"{person}\t{i}\t{j}" if same == "1" else f"{person}\t{i}\t{other}\t{j}")
        table.append(f"{path.relative_to(folder)},{other_path.relative_to(folder)},{same}")
    (folder / "pairs.txt").write_text("\n".join(listed) + "\n")
    (folder / "pairs.csv").write_text("\n".join(table) + "\n")
    return {
        "pack": pack,
        "folder": open_benchmark(f"{folder}:pairs.txt"),
        "table": open_benchmark(f"{folder}:pairs.csv"),
    }
