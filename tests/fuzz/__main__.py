"""Whatever an external file holds, its reader gives values or a one-line InputError, in bounded time.

    python -m tests.fuzz --examples=15000 --only=Parquet,labels.csv

Every reader has a small valid set; an example damages one file of it (bytes, words of lists, values of JSON) and reads
everything. Each reader has its own process, so that a library crash counts as a result too. The same seed gives the
same damage; failures are printed with their example number, which `--first=N --examples=1` repeats.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path
from types import FrameType

from adaptface_jax.core.errors import InputError

from .damage import damage
from .sets import READERS, check

SECONDS = 60  # of an example, at most
MEMORY = 6 << 30  # of a process


def late(signal_number: int, frame: FrameType | None) -> None:
    raise TimeoutError


def run_reader(name: str, first: int, examples: int) -> tuple[int, int, list[str]]:
    """How many examples were read and refused, and which failed."""
    reader = READERS[name]()
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    signal.signal(signal.SIGALRM, late)
    read = refused = 0
    fallen = []
    base = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(dir=base) as place, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        valid, folder = Path(place, "valid"), Path(place, "set")
        valid.mkdir()
        reader.make(valid)
        shutil.copytree(valid, folder)
        reader.read(folder)  # the valid set must be readable, or the rest means nothing
        targets = sorted(
            {path.relative_to(valid) for form in reader.damaged for path in valid.glob(form) if path.is_file()}
        )
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        slowest = 0.0
        for number in range(first, first + examples):
            rng = random.Random(f"{name} {number}")
            target = rng.choice(targets)
            damage(folder / target, rng)
            if reader.mend:
                reader.mend(folder)
            signal.alarm(SECONDS)
            start = time.perf_counter()
            try:
                reader.read(folder)
                read += 1
            except InputError as error:
                refused += 1
                try:
                    check(error)
                except AssertionError as wrong:
                    fallen.append(f"{number} {target}: {wrong}")
            except BaseException as error:
                where = traceback.extract_tb(error.__traceback__)
                own = next((frame for frame in reversed(where) if "adaptface_jax" in frame.filename), where[-1])
                place_of = f"{Path(own.filename).name}:{own.lineno}"
                fallen.append(f"{number} {target}: {type(error).__name__} at {place_of}: {str(error)[:160]!r}")
            finally:
                signal.alarm(0)
            slowest = max(slowest, time.perf_counter() - start)
            for path in valid.rglob("*") if reader.mend else [valid / target]:
                if path.is_file():
                    shutil.copyfile(path, folder / path.relative_to(valid))
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    counts = f"{read:6,} read {refused:6,} refused {len(fallen):3} fell"
    print(f"{name:20} {examples:6,} examples: {counts}, slowest {slowest:.2f} s, memory +{grown:,.0f} MB", flush=True)
    for line in fallen[:40]:
        print(f"    {line}", flush=True)
    return read, refused, fallen


def main() -> int:
    """Each reader in its own process; 1 if anything failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=15_000, help="over all readers [%(default)s]")
    parser.add_argument("--first", type=int, default=0, help="number of the first example [%(default)s]")
    parser.add_argument("--only", default="", help="these readers, apart by commas")
    parser.add_argument("--here", action="store_true", help="in this process")
    args = parser.parse_args()
    names = [name.strip() for name in args.only.split(",") if name.strip()] or list(READERS)
    each = -(-args.examples // len(names))
    if args.here:
        return int(sum(len(run_reader(name, args.first, each)[2]) for name in names) > 0)
    wrong = 0
    for name in names:
        words = ["--here", f"--only={name}", f"--examples={each}", f"--first={args.first}"]
        status = subprocess.call([sys.executable, "-X", "faulthandler", "-m", "tests.fuzz", *words])
        if status not in (0, 1):
            print(f"{name:20} the process ended with {status}", flush=True)
        wrong += status != 0
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
