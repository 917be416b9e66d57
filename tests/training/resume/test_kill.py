"""The short form of `kill.py`: a training killed twice ends like an uninterrupted one."""

from __future__ import annotations

import random
import signal
import time

import pytest

from tests.training.resume.kill import Runner, kill_run


@pytest.mark.slow
def test_killed_runs_end_like_an_uninterrupted_one(tmp_path):
    runner = Runner(tmp_path, "whole")
    before = time.monotonic()
    assert runner.finish()[0] == 0
    length = time.monotonic() - before
    said: list[str] = []
    numbers = [signal.SIGKILL, signal.SIGTERM]
    _, wrong = kill_run(tmp_path, "killed", runner.outcome(), numbers, 0.8 * length, random.Random(0), said.append)
    assert not wrong, "\n".join([*said, *wrong])
