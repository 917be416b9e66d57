# SPDX-License-Identifier: Apache-2.0
"""An activity is reported when it starts, and again if it takes long."""

from __future__ import annotations

import io

import pytest

from adaptface_jax.core import progress
from adaptface_jax.core.progress import FIRST_GAP, LAST_GAP, Phase, Progress, gap, going_on


@pytest.fixture(autouse=True)
def no_terminal(monkeypatch):
    monkeypatch.setattr("sys.stderr", io.StringIO())


def lines(capsys) -> list[str]:
    return capsys.readouterr().out.splitlines()


def test_a_phase_is_reported_once_and_again_after_a_silence(capsys):
    with Phase("compiling; then training") as phase:
        assert lines(capsys) == ["compiling; then training ..."]
        phase.tick(FIRST_GAP - 1)
        assert not lines(capsys)
        phase.tick(FIRST_GAP)
        assert lines(capsys) == ["compiling; then training ... 0 s"]
    assert not lines(capsys)


def test_a_brief_one_is_reported_only_if_it_takes_long(capsys):
    with Phase("saving", brief=True) as phase, Progress(4, label="embedding", unit="image", brief=True) as counted:
        counted.show(2)
        counted.show(4)
        assert not lines(capsys)
        phase.tick(FIRST_GAP)
        counted.tick(FIRST_GAP)
        assert lines(capsys) == ["saving ... 0 s", "embedding 4/4 ... 0 s"]


def test_a_count_is_reported_at_its_end_and_counts_silently_in_between(capsys):
    with Progress(4, label="training") as counted:
        counted.show(1, {"loss": "2.0"})
        counted.at(2)
        assert not lines(capsys) and counted.now() == "training 2/4"
        counted.show(4, {"loss": "1.0"})
    assert lines(capsys) == ["training 4/4  loss 1.0"]


def test_the_innermost_activity_is_current():
    assert going_on() is None
    with Phase("verifying") as outer:
        assert going_on() is outer
        with Phase("embedding") as inner:
            assert going_on() is inner
        assert going_on() is outer
    assert going_on() is None


def test_nobody_waits_longer_than_three_seconds_for_a_line_in_the_first_minutes():
    assert gap(0) == gap(150) == FIRST_GAP <= 2.5 and gap(600) == 10 and gap(3600) == gap(60_000) == LAST_GAP


def test_metrics_of_an_earlier_count_say_so(capsys, monkeypatch):
    """The loop is further by the time they arrive: the count never falls."""
    for name in ("FIRST_GAP", "PART"):  # a line each, however soon
        monkeypatch.setattr(progress, name, 0.0)
    with Progress(10, label="training") as shown:
        shown.at(4)
        shown.show(4, {"loss": "3.0"})
        shown.at(7)
        shown.show(6, {"loss": "2.5"})
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition("  ETA")[0] for line in lines] == [
        "training 4/10  loss 3.0",
        "training 7/10  at 6  loss 2.5",
    ]


def test_the_thread_reports_it_by_itself(capsys, monkeypatch):
    monkeypatch.setattr(progress, "FIRST_GAP", 0.0)
    said = []
    monkeypatch.setattr(Phase, "tick", lambda phase, silent: (said.append(phase.now()), done.set()))
    done = progress.threading.Event()
    with Phase("looking", brief=True):
        assert done.wait(60)
    assert set(said) == {"looking"}
