"""One trial: a command meets a fault, and whether its response is right."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from types import ModuleType

from tests.running import call

TRACEBACK, STATUS, LOST = "traceback", "status", "lost"
LONGEST = 700  # characters of an error line, two long paths among them


@dataclasses.dataclass(frozen=True)
class Answer:
    """status: None if the command ended with a traceback, which `error` then holds."""

    status: int | None
    out: str
    error: str


@dataclasses.dataclass(frozen=True)
class Trial:
    """group: its row in the table. run: "" or what is wrong, starting with its kind."""

    group: str
    what: str
    run: Callable[[], str]


def answer(module: ModuleType, *words: object) -> Answer:
    """A command's output, run within this process."""
    out, error = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
            status = call(module, *words)
    except Exception as failure:
        places = [frame for frame in traceback.extract_tb(failure.__traceback__) if "adaptface_jax" in frame.filename]
        place = f" at {places[-1].filename.rpartition('adaptface_jax/')[2]}:{places[-1].lineno}" if places else ""
        return Answer(None, out.getvalue(), f"{type(failure).__name__}: {str(failure)[:300]}{place}")
    return Answer(status, out.getvalue(), error.getvalue())


def judged(found: Answer, *statuses: int) -> str:
    """ "" for one of these statuses with nothing, or one valid line, on standard error; else what is wrong."""
    if found.status is None or "Traceback" in found.error:
        return f"{TRACEBACK}: {found.error}"
    line = found.error.removesuffix("\n")
    if found.status not in statuses:
        return f"{STATUS} {found.status}, expected {' or '.join(map(str, statuses))}: {line}"
    if found.status == 2 and not (line.startswith("error: ") and line.isprintable() and len(line) <= LONGEST):
        return f"{STATUS} 2 without one valid line: {line[:LONGEST]!r}"
    if found.status == 0 and line:
        return f"{STATUS} 0 with a complaint: {line}"
    return ""


class Tally:
    """Counts by group; `wrong` lists what was not right, a line each."""

    def __init__(self) -> None:
        self.trials: Counter[str] = Counter()
        self.kinds: Counter[tuple[str, str]] = Counter()
        self.wrong: list[str] = []

    def run(self, trials: Iterable[Trial], say: Callable[[str], None] = lambda line: None) -> Tally:
        for trial in trials:
            self.trials[trial.group] += 1
            if found := trial.run():
                self.kinds[trial.group, found.split(" ")[0].rstrip(":")] += 1
                self.wrong.append(f"{trial.group}, {trial.what}: {found}")
                say(self.wrong[-1])
        return self

    def table(self) -> str:
        """One row per group."""
        titles = ("trials", TRACEBACK, STATUS, LOST)
        rows = [
            (group, count, *(self.kinds[group, kind] for kind in titles[1:])) for group, count in self.trials.items()
        ]
        rows.append(("all", *(sum(row[place] for row in rows) for place in range(1, 5))))  # type: ignore[arg-type, misc]
        return "\n".join(
            f"{name:32}" + "".join(f"{cell:>12}" for cell in cells) for name, *cells in [("", *titles), *rows]
        )
