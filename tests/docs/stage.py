# SPDX-License-Identifier: Apache-2.0
"""What the code on a page finds: the folder it runs in, and how a shell's commands are run or checked."""

from __future__ import annotations

import importlib
import re
import shlex
import shutil
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
from PIL import Image

from adaptface_jax import __main__
from adaptface_jax.data.synthetic_faces.generate import Population
from tests.docs.pages import ROOT
from tests.finished_run import SETTINGS
from tests.running import SMALL, call

PEOPLE = ("anna", "bert", "chloe", "dora", "emil", "fay")
IMAGES = 6

# A training on a page is run with these settings at the end of its line, so that the demo is the run of `finished_run`.
IN_SMALL = SMALL | SETTINGS | {"adapter.domain_loss_weight": 0.1, "train.steps": "none"}
BENCHMARK = "faces=synthetic:identities=6,images=9,seed=2,pairs=220"  # enough pairs for a threshold at FAR 1e-1

MAKE = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
EXTRAS = set(
    tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
)  # fmt: skip


def demo_run(finished_run: Path, folder: Path) -> Path:
    """The finished run with a threshold: a page's `adaptface train --config=demo` finds it, and nothing to do."""
    shutil.copytree(finished_run, folder / "demo")
    assert run(["train", "--config=demo", f"--workdir={folder / 'demo'}"]) == 0
    return folder / "demo"


def lay_out(folder: Path, demo: Path) -> None:
    """The demo's run in `runs/demo`, generated people in `faces/` and in `crops/`, crops of two of them beside it."""
    shutil.copytree(demo, folder / "runs" / "demo")
    people = Population(5)
    for person, name in enumerate(PEOPLE):
        (folder / "faces" / name).mkdir(parents=True)
        for number in range(IMAGES):
            Image.fromarray(people.picture(person, number)[0]).save(folder / "faces" / name / f"{number}.png")
    shutil.copytree(folder / "faces", folder / "crops")
    for name, of in (("anna.jpg", "anna/0.png"), ("anna2.jpg", "anna/1.png"), ("somebody.jpg", "bert/0.png")):
        Image.open(folder / "faces" / of).save(folder / name, quality=95)


def lines_of(text: str) -> list[list[str]]:
    """The words of each command of a block, as a shell reads them."""
    found = (shlex.split(line, comments=True) for line in text.replace("\\\n", "").splitlines())
    return [words for words in found if words]


def module_of(command: str) -> ModuleType:
    return importlib.import_module(f"adaptface_jax.{command}.__main__")


def ours(words: list[str]) -> list[str] | None:
    """The words of one of our commands, from its name on; None for any other program."""
    if words[0] == "adaptface":
        return words[1:]
    if words[:2] == ["python", "-m"] and words[2].startswith("adaptface_jax."):
        return [words[2].removeprefix("adaptface_jax."), *words[3:]]
    return None


def run(words: list[str]) -> int:
    """One of our commands, within this process; a training in small."""
    command, *rest = words
    if command.startswith("-"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", ["adaptface", *words])
            return __main__.main()
    return call(module_of(command), *rest, *(small(rest) if command == "train" else ()))


def small(words: list[str]) -> list[str]:
    """What is put at the end of a training's line; the page's own data stay."""
    result = [
        f"--config.{name}={value}" for name, value in IN_SMALL.items() if name not in ("data.train", "data.benchmarks")
    ]
    if not any(word.startswith("--config.data.train=") for word in words):
        result.append(f"--config.data.train={IN_SMALL['data.train']}")
    return result if any(word.startswith("--benchmark") for word in words) else [*result, f"--benchmark={BENCHMARK}"]


def parse(words: list[str]) -> None:
    """The line of one of our commands, read as the command reads it: flags and settings, not what they name."""
    command, *rest = words
    if not command.startswith("-") and rest not in (["--help"], ["--help-all"]):
        module_of(command).parser().parse(rest)


def check(words: list[str]) -> None:
    """A line of another program: what it names of this project is there."""
    program, *rest = words
    if program == "make":
        targets = {word for word in rest if "=" not in word}
        assert targets <= MAKE, f"no target called {targets - MAKE}"
    elif program == "pip":
        named = {extra for word in rest for part in re.findall(r"\[(.+?)\]", word) for extra in part.split(",")}
        assert named <= EXTRAS, f"no extra called {named - EXTRAS}"
    elif program == "python":
        check_script(rest)
    else:
        assert program in OTHERS or "=" in program, f"{program}: no known program; tests/docs/stage.py lists them"


def check_script(words: list[str]) -> None:
    """`python benchmarks/x.py --flag` or `python -m package.module`: the file is there and knows the flags."""
    if words[0] == "-m":
        if words[1] in ("pip", "venv"):
            return
        place = ROOT / words[1].replace(".", "/")
        place = place / "__main__.py" if place.is_dir() else place.with_suffix(".py")
    else:
        place = ROOT / words[0]
    assert place.is_file(), f"no file at {place}"
    text = place.read_text(encoding="utf-8")
    flags = [word.partition("=")[0] for word in words if word.startswith("--")]
    unknown = [flag for flag in flags if flag not in text]
    assert not unknown, f"{place.name} has no {unknown}"


OTHERS = set(". cd cp curl docker export git mkdir mpirun rsync scp srun sbatch tensorboard tfds torchrun".split())
