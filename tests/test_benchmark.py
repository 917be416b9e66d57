# SPDX-License-Identifier: Apache-2.0
"""The benchmark script still runs; its measurements are not checked."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "benchmarks" / "train_step.py"


def run(*arguments: str) -> str:
    return subprocess.run([sys.executable, str(SCRIPT), *arguments], check=True, capture_output=True, text=True).stdout


def test_help_names_the_variants():
    help_text = run("--help")
    assert all(name in help_text for name in ("lora", "dalora_frozen_cached", "dalora_block2", "frozen", "peft"))


@pytest.mark.slow
def test_our_side_runs_small(tmp_path):
    out = tmp_path / "result.json"
    size = ("--backbone", "demo", "--image_size", "28", "--classes", "20", "--batch_size", "2")
    printed = run("--quick", "--variants", "lora", "frozen", *size, "--out", str(out))
    rows = json.loads(out.read_text())["results"]
    assert [row["variant"] for row in rows] == ["lora", "frozen"]
    assert all(row["images_per_second"] > 0 and row["peak_bytes"] > row["imported_bytes"] for row in rows)
    assert len(printed.splitlines()) == 4
