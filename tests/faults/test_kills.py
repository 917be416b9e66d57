"""Killed commands leave the old or a complete new output, and the next start cleans up after them."""

from __future__ import annotations

from tests.faults.kills import commands, trials
from tests.faults.trial import Tally


def test_killed_commands_lose_nothing(finished_run, tmp_path):
    tally = Tally()
    for name, killed in commands(finished_run, tmp_path).items():
        tally.run(trials(name, killed, count=2, seed=0))
    assert not tally.wrong, "\n".join(tally.wrong)
    assert tally.trials.total() >= 6
