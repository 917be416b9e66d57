"""What a grid is and how far it has come: `grid.json`, written atomically after every change."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from adaptface_jax.config.overrides import AnyConfig
from adaptface_jax.core import trees
from adaptface_jax.core.errors import InputError
from adaptface_jax.core.files import write_text
from adaptface_jax.core.json_io import from_plain, read_json, to_json
from adaptface_jax.core.text import shown
from adaptface_jax.grid.sweeps import Range, Sweep
from adaptface_jax.training.run import RUN_FILE

NAME = "grid.json"
WAITING, RUNNING, STOPPED, FAILED, FINISHED = "waiting", "running", "stopped", "failed", "finished"


@dataclasses.dataclass
class SubRun:
    """One run of the grid, in the folder `name`.

    choice: the swept settings as they are typed. seconds: how long it ran under the grid, over all sessions (a killed
    grid loses its last one). line: its last output, if it failed. score: of the best checkpoint, higher is better;
    loss: the last training loss; None if there is none. rank: 1 is the best.
    """

    name: str
    choice: dict[str, str]
    state: str = WAITING
    seconds: float = 0.0
    line: str = ""
    score: float | None = None
    loss: float | None = None
    steps: int = 0
    rank: int | None = None


@dataclasses.dataclass
class Record:
    """settings: what all sub-runs share, by section. sweeps: setting -> its values, or the two ends of a range."""

    settings: dict[str, Any]
    sweeps: dict[str, list[str]]
    drawn: bool = False
    runs: list[SubRun] = dataclasses.field(default_factory=list)

    def write(self, out: Path) -> None:
        write_text(out / NAME, to_json(self, indent=2) + "\n")


def new_record(config: AnyConfig, sweeps: list[Sweep], drawn: bool) -> Record:
    """The record of a grid that has not run yet."""
    # Including defaults, which may differ in a later version.
    settings = json.loads(to_json(dataclasses.asdict(config)))
    return Record(settings, {sweep.setting: _texts(sweep) for sweep in sweeps}, drawn)


def open_record(out: Path, new: Record) -> Record:
    """The record in `out`, or `new` if there is none. Raises InputError if it holds another grid, or a run."""
    if (out / RUN_FILE).exists():
        raise InputError(f"--out: {shown(str(out))} holds a run; choose another folder")
    if not (out / NAME).exists():
        return new
    old = from_plain(read_json(out / NAME), Record, shown(str(out / NAME)))
    before, now = ({"settings": r.settings, "sweeps": r.sweeps, "drawn": r.drawn} for r in (old, new))
    if differences := trees.difference(before, now):
        name, was, wanted = differences[0]
        more = f" and {len(differences) - 1} more" if len(differences) > 1 else ""
        raise InputError(
            f"--out: {shown(str(out))} holds another grid ({name} was {was!r}, now {wanted!r}{more}); "
            "choose another folder, or repeat the command that started it"
        )
    return old


def _texts(sweep: Sweep) -> list[str]:
    return [repr(sweep.low), repr(sweep.high)] if isinstance(sweep, Range) else list(sweep.texts)
