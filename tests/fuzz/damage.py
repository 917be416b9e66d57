# SPDX-License-Identifier: Apache-2.0
"""Corrupted files: other bytes, other words in lists, other values in JSON."""

from __future__ import annotations

import json
import random
from pathlib import Path

from tests.faults.records import paths, put

# Wrong contents of lists and settings.
WORDS = [
    "",
    "nan",
    "-1",
    "1e999",
    "0",
    "1.5",
    "\x1b[31m",
    "..",
    "/",
    "é",
    "e\u0301",
    "x" * 5000,
    "99999999999999999999",
    "\0",
    '"',
    ",",
    "\t",
]
VALUES = [None, [], [[]], {}, "", "x", -1, 0, 1.5, 10**30, 1e300, True, [1, 2, 3], {"a": {}}, "../../x", ["x"] * 3]


def changed(content: bytes, rng: random.Random) -> bytes:
    """Other bytes."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 6))):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(8):
            case 0:
                data[at : at + rng.randint(1, 8)] = rng.randbytes(rng.randint(1, 8))
            case 1 | 2 if at < len(data):
                data[at] ^= 1 << rng.randrange(8)
            case 3:
                data[at:at] = rng.randbytes(rng.randint(1, 8))
            case 4:
                del data[at : at + rng.randint(1, 64)]
            case 5:
                data[at:at] = data[at : at + rng.randint(1, 64)]
            case 6:
                data[at : at + 4] = rng.choice([b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f"])
            case 7 if rng.random() < 0.3:
                del data[at:]
    return bytes(data)


def reworded(content: bytes, rng: random.Random) -> bytes:
    """A list with other words, or lines."""
    lines = content.decode(errors="surrogateescape").split("\n")
    for _ in range(rng.choice((1, 1, 3))):
        at = rng.randrange(len(lines))
        marks = [mark for mark in ",\t ;" if mark in lines[at]] or [" "]
        mark = rng.choice(marks)
        words = lines[at].split(mark)
        place = rng.randrange(len(words))
        match rng.randrange(8):
            case 0 | 1:
                words[place] = rng.choice(WORDS)
            case 2:
                words[place] += rng.choice(WORDS)
            case 3:
                del words[place]
            case 4:
                words.insert(place, rng.choice(words + WORDS))
            case 5:
                words = rng.choice(lines).split(mark)
            case 6:
                mark = rng.choice(",\t ;|")
            case 7:
                words = []
        lines[at] = mark.join(words)
    if rng.random() < 0.1:
        lines = [line.replace(marks[0], rng.choice("\t;, ")) for line in lines]
    return "\n".join(lines).encode(errors="surrogateescape")


def revalued(content: bytes, rng: random.Random) -> bytes:
    """JSON with one value changed, removed or added."""
    whole = json.loads(content)
    for _ in range(rng.randint(1, 3)):
        found = sorted(paths(whole))
        if not found:
            break
        whole = put(whole, rng.choice(found), rng.choice(VALUES))
    return json.dumps(whole).encode()


def damage(path: Path, rng: random.Random) -> None:
    """Damage one file in a way that suits its format."""
    content, ways = path.read_bytes(), [changed]
    if path.suffix == ".json":
        ways += [revalued] * 4
    elif content and b"\0" not in content and path.suffix != ".jsonl":
        ways += [reworded] * 3
    path.write_bytes(rng.choice(ways)(content, rng))
