"""The sub-runs of one command: which come next, and how they ended."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from adaptface_jax.cli.command import STOPPED as STOPPED_STATUS
from adaptface_jax.config.overrides import AnyConfig
from adaptface_jax.config.schema import Config
from adaptface_jax.config.yardstick import GATED, plain_adapter, typed
from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import duration, plural
from adaptface_jax.grid.children import LOG, Ended, Job
from adaptface_jax.grid.outcome import is_over, read_outcome
from adaptface_jax.grid.record import FAILED, FINISHED, RUNNING, STOPPED, WAITING, SubRun, new_record, open_record
from adaptface_jax.grid.search import draw, require_optuna
from adaptface_jax.grid.sweeps import Choice, Sweep, Values, applied, name_of, parse_sweeps, product
from adaptface_jax.grid.table import grid_table, rank, score_text, score_title, write_page
from adaptface_jax.training.run import RUN_FILE


class Grid:
    """Checks every combination and reads the progress of the grid in --out; writes nothing before `jobs`.

    args: the command's. at_once: how many sub-runs run at a time.
    Raises InputError for an invalid sweep or combination, and if --out holds something else.
    """

    def __init__(self, args: argparse.Namespace, at_once: int = 1) -> None:
        self.out, self._args, self._at_once = Path(args.out), args, at_once
        self.config: AnyConfig = args.config
        self._trials: int | None = args.trials
        drawn = self._trials is not None
        self.sweeps = parse_sweeps(args.sweep, self.config, drawn)
        if drawn:
            require_optuna()
            check_each(self.sweeps, self.config)
        self.record = open_record(self.out, new_record(self.config, self.sweeps, drawn))
        if not drawn:
            choices = list(product([sweep for sweep in self.sweeps if isinstance(sweep, Values)]))
            for choice in [*choices, *(yardsticks(choices, self.config) if args.yardstick else [])]:
                self._sub_run(choice)
        for run in self.record.runs:
            workdir = self.out / run.name
            if is_over(workdir):
                run.state = FINISHED
            elif run.state == FINISHED and not (workdir / RUN_FILE).exists():
                run.state = WAITING  # someone removed it
            elif run.state == RUNNING:
                run.state = STOPPED  # the grid was killed
            if run.state == FINISHED:
                read_outcome(run, workdir)

    @property
    def planned(self) -> int:
        """The total number of sub-runs."""
        return max(self._trials or 0, len(self.record.runs))

    def of_state(self, state: str) -> list[SubRun]:
        return [run for run in self.record.runs if run.state == state]

    def _sub_run(self, choice: Choice) -> SubRun:
        """The sub-run of a combination, added to the record if new."""
        applied(self.config, choice)
        name = name_of(choice, self.config)
        for run in self.record.runs:
            if run.name == name:
                return run
        self.record.runs.append(SubRun(name, dict(choice)))
        return self.record.runs[-1]

    def jobs(self) -> Iterator[Job]:
        """Unfinished sub-runs, in order; then drawn ones, each when requested."""
        for run in [*self.record.runs]:
            if run.state == FINISHED:
                print(f"{run.name}: already finished, skipped", flush=True)
            else:
                yield self._job(run)
        while self._trials is not None and len(self.record.runs) < self._trials:
            choice = draw(self.sweeps, self.record.runs, self.config.seed)
            if choice is None:
                print(f"no new combination is left; {len(self.record.runs)} were drawn", flush=True)
                return
            yield self._job(self._sub_run(choice))

    def _job(self, run: SubRun) -> Job:
        run.state, run.line = RUNNING, ""
        self.record.write(self.out)
        print(f"[{self.record.runs.index(run) + 1}/{self.planned}] {run.name}", flush=True)
        return Job(run.name, ("-m", *self.words(run)), self.out / run.name)

    def words(self, run: SubRun) -> list[str]:
        """The sub-run's command after `python -m`, which also works when typed."""
        command = "train" if isinstance(self.config, Config) else "classify"
        words = [f"adaptface_jax.{command}", f"--config={self._args.recipe}", f"--workdir={self.out / run.name}"]
        words += [f"--config.{name}={text}" for name, text in [*self._args.changes, *run.choice.items()]]
        return words + [f"--benchmark={text}" for text in self._args.benchmark or ()]

    def ended(self, end: Ended, stopping: bool) -> None:
        """Record and print how a sub-run ended; stopping: whether the grid was told to stop, so that this is no
        failure."""
        run = next(run for run in self.record.runs if run.name == end.job.name)
        run.seconds += end.seconds
        cut_short = end.status == STOPPED_STATUS or (stopping and end.status != 0)
        run.state = STOPPED if cut_short else FAILED if end.status else FINISHED
        run.line = end.line if run.state == FAILED else ""
        read_outcome(run, end.job.workdir)
        self.write()
        if run.state == FAILED:
            print(f"{run.name} failed with status {end.status}, see its {LOG}: {run.line}", flush=True)
        elif run.state == STOPPED:
            print(f"{run.name} stopped after step {run.steps:,}", flush=True)
        else:
            words = [] if run.score is None else [f"{score_title(self.config)} {score_text(self.config, run)}"]
            words += [] if run.loss is None else [f"last loss {run.loss:.4f}"]
            print(f"{run.name}: {', '.join([*words, duration(run.seconds)])}; {self.time_left()}", flush=True)

    def time_left(self) -> str:
        """What is left, and the time for it by the mean of the timed sub-runs."""
        finished = self.of_state(FINISHED)
        left = self.planned - len(finished)
        if not left:
            return "all have finished"
        times = [run.seconds for run in finished if run.seconds]
        if not times:
            return f"{plural(left, 'sub-run')} left, time unknown until the first has finished"
        mean = sum(times) / len(times)
        about = duration(mean * -(-left // self._at_once))
        return f"{plural(left, 'sub-run')} left, about {about} at {duration(mean)} each, the mean of {len(times)}"

    def table(self) -> str:
        return grid_table(self.record, self.config)

    def write(self) -> None:
        """grid.json and grid.md, ranked."""
        rank(self.record.runs)
        self.record.write(self.out)
        write_page(self.out, self.record, self.config)


def yardsticks(choices: list[Choice], config: AnyConfig) -> list[Choice]:
    """For each combination that is a DA-LoRA, the same with a plain LoRA of equal size.

    Raises InputError if none of them is one.
    """
    found: list[Choice] = []
    for choice in choices:
        settings = applied(config, choice)
        if isinstance(settings, Config) and (plain := plain_adapter(settings.adapter)):
            kept = {name: text for name, text in choice.items() if name.removeprefix("adapter.") not in GATED}
            found.append(kept | typed(plain))
    if not found:
        raise InputError("--yardstick: no combination is a DA-LoRA; omit it, or sweep adapter.kind=dalora")
    return found


def check_each(sweeps: list[Sweep], config: AnyConfig) -> None:
    """Raise InputError if a value, or an end of a range, is invalid by itself."""
    for sweep in sweeps:
        texts = sweep.texts if isinstance(sweep, Values) else (sweep.text(sweep.low), sweep.text(sweep.high))
        for text in texts:
            applied(config, {sweep.setting: text})
