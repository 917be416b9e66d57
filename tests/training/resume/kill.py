"""Kills a small training at random moments, again and again, and compares the result with an uninterrupted run.

    python -m tests.training.resume.kill --kills 50 --seed 0

Half of the kills are SIGTERM, half SIGKILL, at moments drawn over a whole session: imports, data, compilation,
steps, saves, evaluation, the report. Each killed run is resumed (and killed again) until the kills are used up and it
ends by itself. Then parameters, losses, evaluations and the sequence of record keys must equal the uninterrupted run's,
bit for bit, and no process may be left. Prints a line per kill; exit status 1 if anything differs.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from adaptface_jax.training.recognition.run import open_run
from tests.children import Child, one_device, started

CONFIG = """
from adaptface_jax.config import defaults

def get_config():
    c = defaults()
    c.backbone.name = "demo"
    c.backbone.weights = "builtin"
    c.backbone.image_size = 28
    c.adapter.kind = "dalora"
    c.adapter.rank = 2
    c.adapter.dropout = 0.1
    c.augment.shift = 0.05
    c.data.train = "synthetic:identities=6,images=12,seed=1"
    c.data.benchmarks = {"faces": "synthetic:identities=4,images=6,seed=2,pairs=20"}
    c.eval.batch_size = 32
    c.eval.every_epochs = 2
    c.train.batch_size = 8
    c.train.steps = 36
    c.train.learning_rate = 1e-3
    c.train.clip_norm = 20.0
    c.train.log_every = 1
    c.checkpoint.every_steps = 4
    return c
"""

# Runs the training, and notes the keys of each batch that is trained on.
SESSION = """
import json, sys
import numpy as np
from adaptface_jax.train import __main__ as train
from adaptface_jax.cli.command import run_command
from adaptface_jax.training import loop
from adaptface_jax.data.pipeline import record_keys

keys = open(sys.argv.pop(1), "a", buffering=1)
real = loop.placed_batches
def noted(plan, start, *rest):
    for step, batch in enumerate(real(plan, start, *rest), start + 1):
        known = record_keys(plan.source, plan.config.train.batch_size, plan.config.seed, step)
        keys.write(json.dumps({"step": step, "keys": known, "pixels": int(np.asarray(batch["image"]).sum())}) + "\\n")
        yield batch
loop.placed_batches = noted
run_command(train.main, train.parser())
"""


Say = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a finished run left: every leaf's bytes, the scalars by (step, tag), the batches by step."""

    leaves: dict[str, str]
    scalars: dict[tuple[int, str], float]
    batches: dict[int, tuple[list[str], int]]


class Runner:
    """Sessions of one training in `workdir`."""

    def __init__(self, root: Path, name: str) -> None:
        self.config, self.workdir, self.keys = root / "config.py", root / name, root / f"{name}.keys"
        self.script = root / "session.py"
        self.config.write_text(CONFIG)
        self.script.write_text(SESSION)

    def start(self) -> AbstractContextManager[Child]:
        words = (self.script, self.keys, f"--config={self.config}", f"--workdir={self.workdir}")
        return started(sys.executable, *words, env=one_device() | {"JAX_PLATFORMS": "cpu"})

    def finish(self) -> tuple[int, str]:
        """A session that is not killed: its status and last line."""
        with self.start() as session:
            return last_words(session)

    def outcome(self) -> Outcome:
        import hashlib

        import jax
        import numpy as np

        from adaptface_jax.distributed.mesh import make_mesh
        from adaptface_jax.training.monitor import read_metrics

        model, step = open_run(self.workdir, "latest", make_mesh())
        leaves = {"step": str(step)}
        for path, leaf in jax.tree_util.tree_leaves_with_path(model.trainable):
            leaves[jax.tree_util.keystr(path)] = hashlib.sha256(np.asarray(leaf).tobytes()).hexdigest()
        scalars: dict[tuple[int, str], float] = {}
        for row in read_metrics(self.workdir):
            for tag, value in row.items():
                if tag == "step" or tag.endswith(("images_per_second", "data_wait")):
                    continue
                assert (row["step"], tag) not in scalars, f"{tag} stands twice at step {row['step']}"
                scalars[row["step"], tag] = value
        batches: dict[int, tuple[list[str], int]] = {}
        for line in self.keys.read_text().splitlines():
            row = json.loads(line)
            assert batches.setdefault(row["step"], (row["keys"], row["pixels"])) == (row["keys"], row["pixels"])
        return Outcome(leaves, scalars, batches)


def last_words(session: Child) -> tuple[int, str]:
    """Its status, and the last line of its errors, when it has ended."""
    status, _, error = session.end()
    return status, error.strip().splitlines()[-1] if error.strip() else ""


def left_over(session: int) -> list[int]:
    """Processes of a session that are still alive."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(entry.name))
    return found


def compare(ours: Outcome, whole: Outcome) -> list[str]:
    """What differs, a line each."""
    lines = []
    for name in ("leaves", "scalars", "batches"):
        a, b = getattr(ours, name), getattr(whole, name)
        if a.keys() != b.keys():
            lines.append(f"{name}: {sorted(set(a) ^ set(b), key=str)[:5]} stand in one run only")
        lines += [f"{name}: {key} is {a[key]}, not {b[key]}" for key in a.keys() & b.keys() if a[key] != b[key]][:5]
    return lines


def kill_run(
    root: Path, name: str, whole: Outcome, numbers: list[signal.Signals], length: float, rng: random.Random, say: Say
) -> tuple[int, list[str]]:
    """One training, killed by these signals in turn until it ends by itself; the number of kills, and what is wrong, a
    line each."""
    runner, wrong, kills = Runner(root, name), [], 0
    for number in numbers:
        delay = rng.uniform(0, length)
        with runner.start() as session:
            try:
                session.process.wait(delay)
            except subprocess.TimeoutExpired:
                session.process.send_signal(number)
            else:  # it ended before its time
                status, error = last_words(session)
                if status:
                    wrong.append(f"{name}: a session that nobody killed ended with {status}: {error}")
                break
            kills += 1
            status, error = last_words(session)
            alive = left_over(session.process.pid)
        say(f"{name} kill {kills}: {number.name} after {delay:5.2f} s, exit {status}: {error[:100]}")
        allowed = {0, 75, -number} if number == signal.SIGTERM else {0, -number}
        if status not in allowed:
            wrong.append(f"{name}: exit status {status} after {number.name}: {error}")
        if alive:
            wrong.append(f"{name}: processes {alive} are left")
        if "Traceback" in error:
            wrong.append(f"{name}: a traceback after {number.name}")
    status, error = runner.finish()
    if status:
        return kills, [*wrong, f"{name}: the last session ended with {status}: {error}"]
    return kills, wrong + compare(runner.outcome(), whole)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--per_run", type=int, default=5, help="kills before a training may end [5]")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        before = time.monotonic()
        runner = Runner(root, "whole")
        status, error = runner.finish()
        length = time.monotonic() - before
        if status:
            print(f"the uninterrupted run ended with {status}: {error}")
            return 1
        print(f"uninterrupted: {length:.1f} s", flush=True)
        whole, wrong, done, runs = runner.outcome(), [], 0, 0
        while done < args.kills:
            left = range(done, min(args.kills, done + args.per_run))
            numbers = [(signal.SIGTERM, signal.SIGKILL)[kill % 2] for kill in left]
            kills, found = kill_run(
                root, f"run{runs}", whole, numbers, length, rng, lambda line: print(line, flush=True)
            )
            done, runs = done + kills, runs + 1
            wrong += found
            print("\n".join(found) or f"equal to the uninterrupted run after {kills} kills", flush=True)
    print(f"{done} kills over {runs} runs, {len(wrong)} things wrong")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
