"""Edits of a run's records, as disks, editors and people make them: name -> the file's new content, by file."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

WHOLE = {
    "empty": b"", "null": b"null", "list": b"[]", "number": b"5", "object": b"{}", "NUL": b"\0",
    "binary": b"\xff\xfe\x00",
    "deep": b"[" * 100_000, "text": b"garbage", "two": b"{} {}", "twice": b'{"config": {}, "config": {}}',
}  # fmt: skip
VALUES = [None, [], [1], {}, "text", "<b>&", -5, 0, 10**12, 1e300, True, "../../x", "\x1b[31m"]


def edits(workdir: Path, seed: int = 0) -> Iterator[tuple[str, str, bytes]]:
    """(file, what was done, content)."""
    rng = random.Random(seed)
    for name in ("run.json", "results.json", "metrics.jsonl", "baselines.json", "scores/faces.npz"):
        content = (workdir / name).read_bytes()
        for what, data in WHOLE.items():
            yield name, what, data
        for _ in range(4):
            cut = rng.randrange(1, len(content))
            yield name, f"cut at {cut}", content[:cut]
            flipped = bytearray(content)
            flipped[cut] ^= 1 << rng.randrange(8)
            yield name, f"a bit of byte {cut}", bytes(flipped)
        if name.endswith(".json"):
            whole = json.loads(content)
            for path in sorted(paths(whole)):
                yield name, f"{path} = {(value := rng.choice(VALUES))!r}", json.dumps(put(whole, path, value)).encode()
    lines = (workdir / "metrics.jsonl").read_bytes()
    for what, line in {
        "a torn line": b'{"step": 13, "tra', "garbage": b"garbage\n", "a list": b"[]\n", "no step": b"{}\n",
        "step as text": b'{"step": "x"}\n', "step null": b'{"step": null}\n', "step 1e400": b'{"step": 1e400}\n',
        "a value as text": b'{"step": 12, "train/loss": "x"}\n', "a value true": b'{"step": 12, "train/loss": true}\n',
        "NUL bytes": b"\0" * 4096 + b"\n", "a tail of NUL": b"\0" * 4096, "blank": b"\n\n",
        "step below 0": b'{"step": -5}\n',
        "speed 0": b'{"step": 13, "train/images_per_second": 0}\n', "speed null": b'{"step": 13, "train/loss": null}\n',
    }.items():  # fmt: skip
        yield "metrics.jsonl", what, lines + line
    yield "metrics.jsonl", "CRLF", lines.replace(b"\n", b"\r\n")


def paths(value: Any, depth: int = 3) -> Iterator[tuple[str, ...]]:
    """Every key down to a depth."""
    if isinstance(value, dict) and depth:
        for key, inner in value.items():
            yield (key,)
            yield from ((key, *rest) for rest in paths(inner, depth - 1))


def put(whole: Any, path: tuple[str, ...], value: Any) -> Any:
    changed = json.loads(json.dumps(whole))
    place = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return changed
