"""What the code on a page finds: the folder it runs in, and how a shell's commands are run or checked."""

from __future__ import annotations

import importlib
import re
import shlex
import shutil
import tomllib
from pathlib import Path
from types import ModuleType

from PIL import Image

from adaptface_jax.data.synthetic_faces.generate import Population
from tests.align.scenes import placement, scene
from tests.docs.pages import ROOT
from tests.finished_run import SETTINGS
from tests.running import SMALL, call

PEOPLE = ("anna", "bert", "chloe", "dora", "emil", "fay")
IMAGES = 6

# A training on a page is run with these settings at the end of its line: the shapes of `finished_run`.
IN_SMALL = SMALL | SETTINGS | {"train.steps": 4, "train.warmup_steps": 0}
DATA = {"data.train": "--config.data.train=", "data.benchmarks": "--benchmark"}  # only where the page names none

MAKE = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
EXTRAS = set(
    tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
)  # fmt: skip


def lay_out(folder: Path, finished_run: Path | None, photographs: bool) -> None:
    """Six generated people in `faces/`, crops of two of them beside it, and a small run in `runs/demo`.

    finished_run: None where the page makes `runs/demo`. photographs: whether it needs the people in larger scenes, too.
    """
    for person, name in enumerate(PEOPLE):
        (folder / "faces" / name).mkdir(parents=True)
        for number in range(IMAGES):
            Image.fromarray(Population(5).picture(person, number)[0]).save(folder / "faces" / name / f"{number}.png")
    for name, of in (("anna.jpg", "anna/0.png"), ("anna2.jpg", "anna/1.png"), ("somebody.jpg", "bert/0.png")):
        Image.open(folder / "faces" / of).save(folder / name, quality=95)
    if finished_run is not None:
        shutil.copytree(finished_run, folder / "runs" / "demo")
    if photographs:
        for person, name in enumerate(PEOPLE):
            (folder / "photographs" / name).mkdir(parents=True)
            for number in range(4):
                face = Population(5).picture(person, 3 * number + 1)[0]  # none of hard pose
                room = scene(face, placement(face, 1.2, 0, (300, 240)), number)
                Image.fromarray(room).save(folder / "photographs" / name / f"{number}.jpg")


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
    if command in ("train", "lr_finder") and "--help" not in rest:
        rest += small(rest)
    return call(module_of(command), *rest)


def small(words: list[str]) -> list[str]:
    """What is put at the end of a training's line."""
    result = []
    for name, value in IN_SMALL.items():
        if name in DATA and any(word.startswith(DATA[name]) for word in words):
            continue
        if isinstance(value, dict):
            result += [f"--benchmark={key}={path}" for key, path in value.items()]
        else:
            result.append(f"--config.{name}={value}")
    return result


def parse(words: list[str]) -> None:
    """The line of one of our commands, read as the command reads it: flags and settings, not what they name."""
    command, *rest = words
    if rest not in (["--help"], ["--help-all"]):
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
