# SPDX-License-Identifier: Apache-2.0
"""Is an installed copy self-contained? `make test-wheel` runs this.

    python tests/wheel/check.py

Builds the wheel as a release does, through the source archive, but from a copy of its sources; installs it into a bare
environment in a temporary folder, and works there in an empty folder: the list of commands, a conversion, six steps of
training on a recipe, an evaluation, and the types as a user's program sees them. Stops with status 1 and the whole
output of what failed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = ("align", "convert", "doctor", "embed", "evaluate", "export", "init", "pack", "report", "train", "verify")
FACES = "--benchmark=faces=synthetic:identities=6,images=6,seed=2,pairs=40"

RIGHT = """\
import adaptface_jax as af
import numpy as np
from adaptface_jax.config import inherit

faces = af.open("runs/six", checkpoint="latest").embed(np.zeros((2, 112, 112, 3), np.uint8))
count: int = len(faces)
rank: int = inherit("demo").adapter.rank
assert faces.embeddings.shape == (2, 512) and faces.gates is not None and rank == 16
"""
WRONG = RIGHT.replace("count: int", "count: str")


class Place:
    """An environment with the wheel in it, and an empty folder to work in."""

    def __init__(self, folder: Path) -> None:
        self.programs = folder / "environment" / ("Scripts" if os.name == "nt" else "bin")
        self.work = folder / "empty"
        self.work.mkdir()
        hidden = {"PYTHONPATH", "VIRTUAL_ENV", "XLA_FLAGS"}  # what could lead back to the checkout
        self.variables = {name: value for name, value in os.environ.items() if name not in hidden}
        self.variables |= {"JAX_PLATFORMS": "cpu"}

    def run(self, program: str | Path, *words: object, expected: int = 0) -> str:
        """The output of a program in the environment; the check ends if its status is not the expected one."""
        words = (self.programs / program, *words)
        start = time.monotonic()
        done = subprocess.run(
            list(map(str, words)),
            cwd=self.work,
            env=self.variables,
            stdin=subprocess.DEVNULL,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        shown = " ".join([words[0].name, *map(str, words[1:])])
        print(f"  {time.monotonic() - start:5.1f} s  {shown if len(shown) <= 120 else shown[:117] + '...'}", flush=True)
        if done.returncode != expected:
            sys.exit(f"{done.stdout}\nerror: status {done.returncode}, expected {expected}, of: {shown}")
        return done.stdout


def demand(holds: bool, what: str, output: str = "") -> None:
    """End the check if a condition fails."""
    if not holds:
        sys.exit(f"{output}\nerror: {what}")


def copy_sources(folder: Path) -> None:
    """What the wheel is built of: a build writes beside its sources, which other tests read meanwhile."""
    folder.mkdir()
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if line.startswith("!"):
            source = ROOT / line[1:]
            copy = shutil.copytree if source.is_dir() else shutil.copy
            copy(source, folder / source.name)


def install(folder: Path) -> Place:
    """Build, make the environment, install."""
    place = Place(folder)
    copy_sources(folder / "sources")
    place.run(sys.executable, "-m", "build", "--outdir", folder / "built", folder / "sources")
    (wheel,) = (folder / "built").glob("*.whl")
    place.run(sys.executable, "-m", "venv", folder / "environment")
    place.run("python", "-m", "pip", "install", "--quiet", "--no-compile", wheel, "mypy")
    return place


def check(place: Place) -> None:
    """Everything that a user of the wheel does first."""
    place.run("python", "-m", "pip", "check")
    overview = place.run("adaptface", "--help")
    for name in COMMANDS:
        demand(f"\n  {name} " in overview, f"adaptface --help does not list {name}", overview)
    package = Path(place.run("python", "-c", "import adaptface_jax; print(adaptface_jax.__path__[0])").strip())
    demand(place.programs.parent in package.parents, f"the package is not the installed one: {package}")

    said = place.run("adaptface", "train", "--config=dmeo", "--workdir=runs/none", expected=2)
    demand("did you mean demo" in said and said.count("\n") == 1, "a misspelled recipe is not one line", said)
    place.run("adaptface", "convert", package / "assets" / "demo_backbone", "--out", "weights/demo")
    settings = {
        "backbone.weights": "weights/demo",
        "backbone.image_size": 56,
        "train.steps": 6,
        "train.batch_size": 8,
        "eval.every_epochs": 0,
        "data.train": "synthetic:identities=4,images=4,seed=1",
    }
    words = [f"--config.{name}={value}" for name, value in settings.items()]
    place.run("adaptface", "train", "--config=demo", "--workdir=runs/six", FACES, *words)
    rows = [json.loads(line) for line in (place.work / "runs/six/metrics.jsonl").read_text().splitlines()]
    demand([row["step"] for row in rows if "train/loss" in row][-1] == 6, "the training has no sixth step")
    place.run("adaptface", "evaluate", "--run=runs/six", "--checkpoint=latest", FACES, "--output=six.json")
    trained, evaluated = (json.loads((place.work / file).read_text()) for file in ("runs/six/results.json", "six.json"))
    both = [results["benchmarks"]["faces"]["accuracy"] for results in (trained, evaluated)]
    demand(both[0] == both[1], f"training and evaluation differ: accuracy {both}")

    (place.work / "right.py").write_text(RIGHT)
    (place.work / "wrong.py").write_text(WRONG)
    place.run("python", "right.py")
    place.run("mypy", "--strict", "right.py")
    said = place.run("mypy", "--strict", "wrong.py", expected=1)
    demand('expression has type "int", variable has type "str"' in said, "mypy does not see our types", said)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="adaptface_wheel_") as folder:
        check(install(Path(folder)))
    print("the wheel is self-contained")


if __name__ == "__main__":
    main()
