# SPDX-License-Identifier: Apache-2.0
"""Signals while a thread works, while nothing may be interrupted, and before."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

import pytest

from adaptface_jax.core.errors import Stopped
from adaptface_jax.training.stopping import SIGNALS, StopSignals
from tests.children import PATIENCE


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_remembered_and_breaks_nothing(number):
    before = signal.getsignal(number)
    with StopSignals() as stop:
        signal.raise_signal(number)
        signal.raise_signal(number)
        assert stop.received == signal.Signals(number).name
    assert signal.getsignal(number) is before


def test_at_once_raises_where_the_program_is():
    with StopSignals() as stop, pytest.raises(Stopped, match="stopped by SIGTERM"), stop.at_once():
        signal.raise_signal(signal.SIGTERM)


def test_at_once_raises_for_a_signal_that_came_before():
    with StopSignals() as stop:
        signal.raise_signal(signal.SIGUSR1)
        with pytest.raises(Stopped), stop.at_once():
            pytest.fail("went in")
        signal.raise_signal(signal.SIGUSR1)  # outside it is only remembered


def test_the_first_signal_counts():
    with StopSignals() as stop:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
    assert stop.received == "SIGINT"


class Dropping:
    """Raises a signal where Python drops every exception."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGTERM)


def test_a_stop_that_python_drops_comes_again(capsys):
    hook = sys.unraisablehook

    def work():
        Dropping()
        time.sleep(PATIENCE)

    with StopSignals() as stop, pytest.raises(Stopped, match="stopped by SIGTERM"), stop.at_once():
        work()
    assert sys.unraisablehook is hook and capsys.readouterr().err == ""


def test_work_in_the_background_gives_its_result_or_its_error():
    with StopSignals() as stop:
        assert stop.in_background(lambda: threading.current_thread() is threading.main_thread()) is False
        with pytest.raises(ZeroDivisionError):
            stop.in_background(lambda: 1 // 0)


def test_a_signal_does_not_wait_for_work_in_the_background():
    release, over = threading.Event(), threading.Event()
    with StopSignals() as stop:

        def work():
            os.kill(os.getpid(), signal.SIGTERM)
            release.wait(PATIENCE)
            over.set()

        with pytest.raises(Stopped):
            stop.in_background(work)
        assert not over.is_set()
    release.set()
    assert over.wait(PATIENCE)
