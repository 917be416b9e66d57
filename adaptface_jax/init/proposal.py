"""The commands from a folder of people to a report and a decision, in order."""

from __future__ import annotations

import dataclasses
import os
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from adaptface_jax.config.starter import RECIPE, Starter, held_out, starter
from adaptface_jax.core.errors import InputError
from adaptface_jax.init.look import People, has_aligner

WIDTH = 110  # of a command; longer ones continue on the next line
BENCHMARK = "held"


@dataclasses.dataclass(frozen=True)
class Step:
    """why: its purpose, one line. words: what is typed."""

    why: str
    words: tuple[str, ...]

    def text(self) -> str:
        """The command as a shell takes it, after a comment with its purpose."""
        lines, line = [], ""
        for word in map(shlex.quote, self.words):
            if line and len(line) + len(word) >= WIDTH:
                lines.append(f"{line} \\")
                line = f"    {word}"
            else:
                line = f"{line} {word}" if line else word
        return "\n".join([f"# {self.why}", *lines, line])


class Proposal:
    """The settings and commands of a first run on these people.

    into: the folder for everything that the commands write.
    Raises InputError for too few people, and if `into` is inside the folder of people.
    """

    def __init__(self, people: People, into: str) -> None:
        inside, outside = Path(into).resolve(), Path(people.folder).resolve()
        if outside == inside or outside in inside.parents:
            raise InputError(f"--into: {into} is inside {people.folder}; name a folder outside it")
        self.people, self.into = people, into
        self.held = held_out(people.counts)
        number = len(people.counts)
        self.part = f"{self.held / number:.3g}"
        self.training_images = round(len(people.source) * (1 - self.held / number))
        self.rule: Starter = starter(self.training_images)
        self.faces = self._place("crops") if people.photographs else people.folder
        self.pairs = self._place("pairs.csv")
        self.listed = f"{self.faces}:{os.path.abspath(self.pairs)}"

    def _place(self, name: str) -> str:
        return os.path.join(self.into, name)

    def settings(self) -> dict[str, object]:
        """The settings by which a run differs from RECIPE, without its benchmark."""
        found: dict[str, object] = {"data.train": self.faces, "data.exclude": self.listed, **self.rule.settings()}
        if self.people.unreadable and not self.people.photographs:
            found["data.bad_records"] = "skip"  # `align` would leave them out
        return found

    def config_file(self) -> str:
        """The settings as a config file."""
        lines = [
            '"""A first run, as proposed by `adaptface init`: the differences from a recipe."""',
            "",
            "from adaptface_jax.config import inherit",
            "",
            "",
            "def get_config():",
            f"    config = inherit({RECIPE!r})",
            *(f"    config.{name} = {value!r}" for name, value in self.settings().items()),
            f"    config.data.benchmarks = {{{BENCHMARK!r}: {self.listed!r}}}",
            "    return config",
        ]
        return "\n".join(lines) + "\n"

    def steps(self, config: str | None) -> Iterator[Step]:
        """config: the file that holds the settings; None to give them as flags."""
        people, run = self.people, self._place("run")
        if people.photographs:
            if not has_aligner():
                install = (sys.executable, "-m", "pip", "install", "adaptface_jax[align]")
                yield Step("the face detector, once", install)
            yield _step("find the face in each photograph", "align", people.folder, self.faces)
        crossed = [f"--domains={people.conditions}"] if people.conditions and not people.photographs else []
        yield _step(
            f"hold out {self.part} of the people: pairs to verify on", "pairs", self.faces, f"--out={self.pairs}",
            f"--people={self.part}", *crossed,
        )  # fmt: skip
        given = [f"--config={config or RECIPE}", f"--workdir={run}"]
        if config is None:
            given += [f"--config.{name}={_typed(value)}" for name, value in self.settings().items()]
            given.append(f"--benchmark={BENCHMARK}={self.listed}")
        yield _step(f"train, verify, report: {run}/results.html", "train", *given)
        yield _step(
            "a page for the run; later also for several, compared", "report", run, f"--out={self._place('report')}"
        )
        first, same, other = _photographs(people)
        yield _step("are these the same person?", "verify", f"--run={run}", first, same)
        yield _step("and these?", "verify", f"--run={run}", first, other)


def _step(why: str, command: str, *words: str) -> Step:
    return Step(why, (*program(), command, *words))


def program() -> Sequence[str]:
    """How this installation's commands are typed."""
    script = Path(sys.executable).with_name("adaptface")
    if not script.is_file():
        return (sys.executable, "-m", "adaptface_jax")
    found = shutil.which(script.name)
    return (script.name,) if found and os.path.samefile(found, script) else (str(script),)


def _photographs(people: People) -> tuple[str, str, str]:
    """Two of the person with the most images, and one of someone else."""
    source, most = people.source, int(people.counts.argmax())
    first, same = np.flatnonzero(source.labels == most)[:2].tolist()
    other = int(np.flatnonzero(source.labels != most)[0])
    names = [os.path.join(people.folder, source.key(index)) for index in (first, same, other)]
    return names[0], names[1], names[2]


def _typed(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
