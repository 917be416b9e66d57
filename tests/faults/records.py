"""Edits of records, as by disks, editors and people, and each command's response to them."""

from __future__ import annotations

import functools
import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from adaptface_jax.doctor import __main__ as doctor
from adaptface_jax.embed import __main__ as embed
from adaptface_jax.evaluate import __main__ as evaluate
from adaptface_jax.export import __main__ as export
from adaptface_jax.report import __main__ as report
from adaptface_jax.train import __main__ as train
from adaptface_jax.verify import __main__ as verify
from tests.data.packing import encoded, picture
from tests.faults.trial import LOST, Trial, answer, judged
from tests.finished_run import CONFIG

WHOLE = {
    "empty": b"", "null": b"null", "list": b"[]", "number": b"5", "object": b"{}", "NUL": b"\0",
    "binary": b"\xff\xfe\x00", "a long number": b"9" * 5000,
    "deep": b"[" * 100_000, "text": b"garbage", "two": b"{} {}", "twice": b'{"config": {}, "config": {}}',
}  # fmt: skip
LINES = {
    "a torn line": b'{"step": 13, "tra', "garbage": b"garbage\n", "a list": b"[]\n", "no step": b"{}\n",
    "step as text": b'{"step": "x"}\n', "step null": b'{"step": null}\n', "step 1e400": b'{"step": 1e400}\n',
    "a value as text": b'{"step": 12, "train/loss": "x"}\n', "a value true": b'{"step": 12, "train/loss": true}\n',
    "NUL bytes": b"\0" * 4096 + b"\n", "a tail of NUL": b"\0" * 4096, "blank": b"\n\n",
    "step below 0": b'{"step": -5}\n', "a step that repeats": b'{"step": 1, "train/loss": 2}\n',
    "speed 0": b'{"step": 13, "train/images_per_second": 0}\n', "speed null": b'{"step": 13, "train/loss": null}\n',
}  # fmt: skip
VALUES = [None, [], [1], {}, "text", "<b>&", -5, 0, 10**12, 1e300, True, "../../x", "\x1b[31m"]
CELLS = [b"", b"x", b"-1", b"1e9", b"nan", b'"', b"../../etc", b"\0", b"\xff", b"\x1b[31m", b"9" * 400]

Words = tuple[ModuleType, *tuple[str, ...]]
Edit = tuple[str, bytes]  # the edit, the new content

# Which commands read a record; {run}: the run whose record was edited, {out}: a place for what is written.
OF_A_RUN: dict[str, Words] = {
    "report": (report, "{run}", "--out={out}"),
    "doctor": (doctor, "--run={run}"),
    "verify": (verify, "--run={run}", "--batch_size=8", "{image}", "{image}"),
    "export": (export, "--run={run}", "--format=peft", "--out={out}"),
    "embed": (embed, "--run={run}", "--images={images}", "--batch_size=8", "--out={out}.npz"),
    "evaluate": (evaluate, "--run={run}", "--batch_size=8", "--benchmark", "f=synthetic:identities=4,images=4,pairs=8"),
    "train": (train, "--config={config}", "--workdir={run}"),
}
READERS = {
    "run.json": ("report", "doctor", "report", "verify", "report", "export", "train", "report", "evaluate", "embed"),
    "results.json": ("report", "doctor", "report", "verify", "report", "doctor", "train"),
    "metrics.jsonl": ("report", "doctor", "train"),
    "baselines.json": ("train", "report"),
    "scores/faces.npz": ("report",),
    "checkpoints/{step}/manifest.json": ("export", "report", "verify", "train"),
    "checkpoints/{step}/run.json": ("export", "train"),
}


def of_a_run(run: Path, place: Path, count: int, seed: int, train_again: bool = True) -> Iterator[Trial]:
    """`count` edits of the records of a finished run, spread over its files, each met by a command that reads it.

    place: a scratch folder. train_again: also by resuming the training, which takes seconds.
    """
    rng = random.Random(seed)
    step = max(int(path.name) for path in (run / "checkpoints").iterdir() if path.name.isdecimal())
    image = place / "images" / "a.png"
    image.parent.mkdir(parents=True)
    image.write_bytes(encoded(picture(0, 28, 28)))
    names = [name.replace("{step}", str(step)) for name in READERS]
    every = {name: edits(run / name, rng) for name in names}
    for name, readers in zip(names, READERS.values(), strict=True):
        readers = tuple(command for command in readers if train_again or command != "train")
        if not readers:
            continue
        share = max(2, round(count * len(every[name]) / sum(map(len, every.values()))))
        for number, edit in enumerate(rng.sample(every[name], min(share, len(every[name])))):
            command = readers[number % len(readers)]
            filled = {"{run}": place / "run", "{out}": place / "out", "{config}": run.parent / CONFIG, "{image}": image}
            filled["{images}"] = image.parent
            module, *words = OF_A_RUN[command]
            words = [
                functools.reduce(lambda word, at: word.replace(at, str(filled[at])), filled, word) for word in words
            ]
            meet = functools.partial(met, run, place, name, edit[1], functools.partial(answer, module, *words), command)
            yield Trial(f"record, {name.replace(f'/{step}/', '/N/')}", f"{edit[0]}, {command}", meet)


def met(run: Path, place: Path, name: str, content: bytes, ask: Callable[[], Any], command: str) -> str:
    """What is wrong with a command's response to a copy of the run with this content in one file."""
    workdir = place / "run"
    shutil.rmtree(workdir, ignore_errors=True)
    shutil.rmtree(place / "out", ignore_errors=True)
    shutil.copytree(run, workdir)
    (workdir / name).write_bytes(content)
    before = contents(workdir)
    # The doctor's status tells whether there is a fault.
    wrong = judged(ask(), *((0, 1, 2) if command == "doctor" else (0, 2)))
    after = contents(workdir)
    if not wrong and command != "train" and after != before:
        return f"{LOST}: {sorted(file for file in before | after if before.get(file) != after.get(file))} changed"
    kept = {data for file, data in after.items() if file.startswith("checkpoints/")}
    if not wrong and (gone := [file for file, data in before.items() if "ocdbt" in file and data not in kept]):
        return f"{LOST}: {gone}"
    return wrong


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def edits(file: Path, rng: random.Random) -> list[Edit]:
    """All edits of one record."""
    content = file.read_bytes()
    found: list[Edit] = list(WHOLE.items())
    for _ in range(6):
        cut = rng.randrange(1, len(content))
        found.append((f"cut at {cut}", content[:cut]))
        flipped = bytearray(content)
        flipped[cut] ^= 1 << rng.randrange(8)
        found.append((f"a bit of byte {cut}", bytes(flipped)))
    if file.suffix == ".json":
        whole = json.loads(content)
        for path in sorted(paths(whole)):
            value = rng.choice(VALUES)
            found.append((f"{'.'.join(path)} = {value!r}", json.dumps(put(whole, path, value)).encode()))
    if file.suffix == ".jsonl":
        found += [(what, content + line) for what, line in LINES.items()]
        found.append(("CRLF", content.replace(b"\n", b"\r\n")))
    if file.suffix in (".csv", ".txt", ".lst"):
        found += [(f"a cell = {cell[:9]!r}", with_cell(content, cell, rng)) for cell in CELLS for _ in range(2)]
        found.append(("CRLF", content.replace(b"\n", b"\r\n")))
        found.append(("a BOM", b"\xef\xbb\xbf" + content))
        found.append(("a line twice", content + content.splitlines(keepends=True)[-1]))
    return found


def with_cell(content: bytes, cell: bytes, rng: random.Random) -> bytes:
    """The table with one cell replaced."""
    lines = content.splitlines()
    place = rng.randrange(len(lines))
    separator = b"," if b"," in lines[0] else b"\t" if b"\t" in content else b" "
    cells = lines[place].split(separator)
    cells[rng.randrange(len(cells))] = cell
    lines[place] = separator.join(cells)
    return b"\n".join(lines) + b"\n"


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
