# SPDX-License-Identifier: Apache-2.0
"""The benchmark script still runs; its measurements are not checked."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "benchmarks" / "train_step.py"
PATHS = [str(SCRIPT.parent), str(ROOT)]


def run(*arguments: str) -> str:
    return subprocess.run([sys.executable, str(SCRIPT), *arguments], check=True, capture_output=True, text=True).stdout


def test_help_names_the_variants():
    help_text = run("--help")
    assert all(name in help_text for name in ("lora", "dalora_frozen_cached", "dalora_block2", "frozen", "peft"))


def test_our_side_needs_only_jax_and_flax():
    """Not what reads sets of images, writes curves or draws: a machine with a GPU may have no more."""
    absent = ("grain", "array_record", "tensorflow_datasets", "tensorboardX", "sklearn", "matplotlib")
    code = f"import sys; sys.modules.update(dict.fromkeys({absent!r})); sys.path[:0] = {PATHS!r}; import gpu, ours"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_is_not_compiled_in_time_costs_nobody_else_a_turn(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [*PATHS, *sys.path])
    from gpu import Deadline
    from serving import Problem

    answers = "import json, sys, time; time.sleep({}); print('{{}}', flush=True)\n"
    answers += "for line in sys.stdin: print(json.dumps(dict(seconds=1, cpu_seconds=1, peak_bytes=1)), flush=True)\n"
    for name, seconds in (("slow", 60), ("quick", 0)):
        (tmp_path / f"{name}.py").write_text(answers.format(seconds))
    deadline = Deadline(26, reserve=20)
    slow, quick = (deadline.start(str(tmp_path / f"{name}.py"), Problem(name)) for name in ("slow", "quick"))
    assert deadline.warm(slow) == "cut off: the deadline"
    assert deadline.warm(quick) == ""
    assert deadline.run(quick, 2)
    quick.close()
    assert quick.seconds == [0.5]


@pytest.mark.slow
def test_our_side_runs_small(tmp_path):
    out = tmp_path / "result.json"
    size = ("--backbone", "demo", "--image_size", "28", "--classes", "20", "--batch_size", "2")
    printed = run("--quick", "--variants", "lora", "frozen", *size, "--out", str(out))
    rows = json.loads(out.read_text())["results"]
    assert [row["variant"] for row in rows] == ["lora", "frozen"]
    assert all(row["images_per_second"] > 0 and row["peak_bytes"] > row["imported_bytes"] for row in rows)
    assert len(printed.splitlines()) == 4
