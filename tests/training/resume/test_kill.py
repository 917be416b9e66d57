"""The short form of `kill.py`: a training killed twice ends as one that was left alone."""

from __future__ import annotations

import random
import runpy
import signal
import time
from pathlib import Path

KILL = runpy.run_path(str(Path(__file__).with_name("kill.py")))


def test_killed_runs_end_as_the_one_left_alone(tmp_path):
    runner = KILL["Runner"](tmp_path, "whole")
    before = time.monotonic()
    assert KILL["finish"](runner.start())[0] == 0
    length = time.monotonic() - before
    said: list[str] = []
    numbers = [signal.SIGKILL, signal.SIGTERM]
    _, wrong = KILL["kill_run"](
        tmp_path, "killed", runner.outcome(), numbers, 0.8 * length, random.Random(0), said.append
    )
    assert not wrong, "\n".join([*said, *wrong])
