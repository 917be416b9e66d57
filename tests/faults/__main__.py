"""Faults of every kind, tried on every command; prints their number and every wrong outcome.

    python -m tests.faults --full           200 outputs, 500 edits of records, 300 settings, 100 kills and more
    python -m tests.faults --only=kills     one kind

Exit status 1 where anything was wrong. The tests here run a short form of each.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")

from tests.faults import data_records, kills, outputs, records, settings
from tests.faults.trial import Tally, Trial
from tests.finished_run import write_finished_run

KINDS = ("outputs", "records", "settings", "kills")


def trials(kind: str, run: Path, place: Path, share: float, seed: int) -> Iterator[Trial]:
    """The faults of one kind; share: 1 for all of them."""
    place.mkdir()

    def of(count: int) -> int:
        return max(2, round(share * count))

    if kind == "outputs":
        with contextlib.chdir(place):
            yield from outputs.trials(place)
    elif kind == "records":
        yield from records.of_a_run(run, place, of(300), seed)
        yield from data_records.trials(data_records.write_data(place / "whole"), place, of(260), seed)
    elif kind == "settings":
        yield from settings.trials(place, of(300), seed)
    else:
        for name, killed in kills.commands(run, place).items():
            yield from kills.trials(name, killed, of(20), seed)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="all of them; else a tenth")
    parser.add_argument("--only", choices=KINDS, action="append", help="these kinds [all]")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    warnings.simplefilter("error")
    tally, begun = Tally(), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "finished").mkdir()
        run = write_finished_run(Path(folder) / "finished")
        for kind in args.only or KINDS:
            share = 1.0 if args.full else 0.1
            tally.run(trials(kind, run, Path(folder) / kind, share, args.seed), lambda line: print(line, flush=True))
            print(f"{kind}: {time.monotonic() - begun:.0f} s", flush=True)
    print(tally.table())
    return bool(tally.wrong)


if __name__ == "__main__":
    sys.exit(main())
