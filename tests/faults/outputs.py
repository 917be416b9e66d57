"""Outputs that cannot be written, as flags of every command: each is refused before anything is computed."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from adaptface_jax.align import __main__ as align
from adaptface_jax.annotate import __main__ as annotate
from adaptface_jax.classify import __main__ as classify
from adaptface_jax.clean import __main__ as clean
from adaptface_jax.convert import __main__ as convert
from adaptface_jax.doctor import __main__ as doctor
from adaptface_jax.embed import __main__ as embed
from adaptface_jax.evaluate import __main__ as evaluate
from adaptface_jax.export import __main__ as export
from adaptface_jax.grid import __main__ as grid
from adaptface_jax.identify import __main__ as identify
from adaptface_jax.init import __main__ as init
from adaptface_jax.lr_finder import __main__ as lr_finder
from adaptface_jax.pack import __main__ as pack
from adaptface_jax.pairs import __main__ as pairs
from adaptface_jax.replay import __main__ as replay
from adaptface_jax.report import __main__ as report
from adaptface_jax.train import __main__ as train
from adaptface_jax.verify import __main__ as verify
from tests.faults.trial import STATUS, Trial, answer, judged

Words = tuple[ModuleType, *tuple[str, ...]]

FILES: dict[str, Words] = {
    "evaluate --output": (evaluate, "--run=nowhere", "--output={}"),
    "evaluate --scores": (evaluate, "--run=nowhere", "--scores={}"),
    "evaluate --hits": (evaluate, "--run=nowhere", "--hits={}"),
    "evaluate --sheet": (evaluate, "--run=nowhere", "--sheet={}"),
    "identify --output": (identify, "--index=nowhere", "a.png", "--output={}"),
    "identify --sheet": (identify, "--index=nowhere", "a.png", "--sheet={}"),
    "replay --output": (replay, "nowhere", "--output={}"),
    "embed --out": (embed, "--run=nowhere", "--images=nowhere", "--out={}"),
    "classify --output": (classify, "--evaluate=nowhere", "--output={}"),
    "verify --output": (verify, "--run=nowhere", "a.png", "b.png", "--output={}"),
    "doctor --output": (doctor, "--run=nowhere", "--output={}"),
    "init --out": (init, "nowhere", "--out={}"),
    "pairs --out": (pairs, "nowhere", "--out={}"),
    "annotate --out": (annotate, "nowhere", "--out={}"),
    "clean --out": (clean, "nowhere", "--run=nowhere", "--out={}"),
    "clean --sheet": (clean, "nowhere", "--run=nowhere", "--out=unused.csv", "--sheet={}"),
}
FOLDERS: dict[str, Words] = {
    "train --workdir": (train, "--config=demo", "--workdir={}"),
    "classify --workdir": (classify, "--config=celeba_cnn", "--workdir={}"),
    "lr_finder --out": (lr_finder, "--config=demo", "--out={}"),
    "grid --out": (grid, "--config=demo", "--sweep=seed=0,1", "--out={}"),
    "export --out": (export, "--run=nowhere", "--format=peft", "--out={}"),
    "convert --out": (convert, "nowhere", "--out={}"),
    "report --out": (report, "nowhere", "--out={}"),
    "pack DST": (pack, "synthetic:identities=2,images=2", "{}"),
    "align DST": (align, "nowhere", "{}"),
}

OUTPUT = "o.csv"
WITH_MORE: dict[str, Words] = {
    "pairs --bin": (pairs, "nowhere", "--out={}", "--bin"),
    "pairs --holdout": (pairs, "nowhere", "--out={}", "--holdout=2"),
}
# What a command writes besides what its flag names -> (what is in the way, whether that is a folder).
INNER = {
    "train --workdir, record": ("run.json", True),
    "train --workdir, log": ("metrics.jsonl", True),
    "train --workdir, results": ("results.json", True),
    "train --workdir, page": ("results.html", True),
    "train --workdir, checkpoints": ("checkpoints", False),
    "train --workdir, scores": ("scores", False),
    "classify --workdir, checkpoints": ("checkpoints", False),
    "lr_finder --out, picture": ("lr_finder.png", True),
    "grid --out, record": ("grid.json", True),
    "report --out, index": ("index.html", True),
    "report --out, page": ("nowhere.html", True),
    "annotate --out, journal": ("o.annotate.jsonl", True),
    "pairs --bin, pack": ("o.bin", True),
    "pairs --holdout, list": ("o.train.csv", True),
}


def places(folder: Path) -> dict[str, str]:
    """Where nothing can be written -> the error; made below `folder`."""
    (folder / "file").write_text("kept")
    (folder / "folder").mkdir()
    (folder / "loop").symlink_to("loop")
    os.mkfifo(folder / "pipe")
    return {
        str(folder / "file" / "x"): "is a file; expected a folder",
        str(folder / "file" / "x" / "y" / "z"): "is a file; expected a folder",
        str(folder / "pipe" / "x"): "is a file; expected a folder",
        str(folder / ("b" * 300)): "a name has 300 bytes; at most",
        str(folder / ("b" * 300) / "x"): "a name has 300 bytes; at most",
        str(folder / "/".join(["c" * 200] * 30)): "File name too long",
        str(folder / "loop"): "Too many levels of symbolic links",
        str(folder / "loop" / "x"): "Too many levels of symbolic links",
        str(folder / "a\0b"): "has a NUL character",
        "/proc/nothing/x": "cannot be written",
        "/sys/nothing": "cannot be written",
        "/dev/null/x": "is a file; expected a folder",
        "": "the path is empty",
    }


def trials(folder: Path) -> Iterator[Trial]:
    """Every flag with every place."""
    everywhere = places(folder)
    dangling = folder / "dangling"
    dangling.symlink_to("nothing")
    nothing = "is a link to nothing, which does not exist"
    for flags, own in (
        (FILES, {str(folder / "folder"): "is a folder"}),
        (FOLDERS, {str(folder / "file"): "is a file", str(dangling): nothing, str(dangling / "x"): nothing}),
    ):
        for flag, (module, *words) in flags.items():
            for place, expected in (everywhere | own).items():
                filled = [word.replace("{}", place) for word in words]
                yield Trial(f"output, {flag}", place[:80], functools.partial(refused, module, filled, expected))
    for number, (flag, (name, is_folder)) in enumerate(INNER.items()):
        flag = flag.partition(",")[0]
        module, *words = (FILES | FOLDERS | WITH_MORE)[flag]
        target = folder / "inner" / str(number)
        target.mkdir(parents=True)
        if is_folder:
            (target / name).mkdir()
        else:
            (target / name).write_text("in the way")
        place = target if flag in FOLDERS else target / OUTPUT
        expected = "is a folder" if is_folder else "is a file"
        filled = [word.replace("{}", str(place)) for word in words]
        meet = functools.partial(refused, module, filled, expected)
        yield Trial(f"output, {flag}", f"{name} in the way", meet)


def refused(module: ModuleType, words: list[str], expected: str) -> str:
    found = answer(module, *words)
    if wrong := judged(found, 2):
        return wrong
    return "" if expected in found.error else f"{STATUS} for another reason: {found.error}"
