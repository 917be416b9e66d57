"""As many programs at a time as devices: what each sees, how its exit is reported, how all are stopped."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from adaptface_jax.core.files import locked
from adaptface_jax.grid.children import BOUND, LOG, Ended, Job, run_all
from adaptface_jax.training.stopping import StopSignals
from tests.children import started, until

MEETING = """
import os, pathlib, sys, time
here, other = (pathlib.Path(word) for word in sys.argv[1:])
here.touch()
while not other.exists():
    time.sleep(0.01)
print("device", os.environ["CUDA_VISIBLE_DEVICES"])
"""
SAVING = """
import signal, sys, time
def save(number, frame):
    print("saved"); sys.exit(75)
signal.signal(signal.SIGTERM, save)
print("ready", flush=True)
time.sleep(600)
"""


def job(folder: Path, name: str, code: str, *words: object) -> Job:
    return Job(name, ("-c", code, *map(str, words)), folder / name)


def run(jobs, slots: int = 1) -> list[Ended]:
    """How all ended, in order."""
    ends: list[Ended] = []
    with StopSignals() as stop:
        run_all(iter(jobs), [{"CUDA_VISIBLE_DEVICES": str(i)} for i in range(slots)], stop, ends.append)
    return ends


def test_two_devices_have_two_at_a_time_and_each_sees_its_own(tmp_path):
    a, b = tmp_path / "a.there", tmp_path / "b.there"
    # Each ends only while the other runs.
    ends = run([job(tmp_path, "a", MEETING, a, b), job(tmp_path, "b", MEETING, b, a)], slots=2)
    assert {(end.job.name, end.line, end.status) for end in ends} == {("a", "device 0", 0), ("b", "device 1", 0)}


def test_with_one_device_the_next_is_requested_after_the_previous_is_reported(tmp_path):
    told: list[str] = []

    def jobs():
        for name in ("a", "b", "c"):
            told.append(f"asked {name}")
            yield job(tmp_path, name, "print('done')")

    with StopSignals() as stop:
        run_all(jobs(), [{}], stop, lambda end: told.append(f"told {end.job.name}"))
    assert told == ["asked a", "told a", "asked b", "told b", "asked c", "told c"]


def test_an_exit_is_reported_with_its_status_and_last_line(tmp_path):
    code = "import sys; print('one'); print('error: two', file=sys.stderr); sys.exit(2)"
    (end,) = run([job(tmp_path, "bad", code)])
    assert (end.status, end.line) == (2, "error: two") and end.seconds > 0
    (end,) = run([job(tmp_path, "bad", "pass")])  # the line is from this session, not the previous one
    assert (end.status, end.line) == (0, "")
    assert "error: two" in (tmp_path / "bad" / LOG).read_text()
    (end,) = run([job(tmp_path, "gone", "import os; print('last', flush=True); os.kill(os.getpid(), 9)")])
    assert (end.status, end.line) == (-9, "killed by SIGKILL; its last line was: last")


def test_a_signal_is_passed_on_and_nothing_new_starts(tmp_path):
    log = tmp_path / "a" / LOG

    def stop_when_ready():
        until(lambda: log.exists() and "ready" in log.read_text())
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=stop_when_ready)
    with StopSignals() as stop:
        ends: list[Ended] = []
        thread.start()
        run_all(iter([job(tmp_path, "a", SAVING), job(tmp_path, "b", "pass")]), [{}], stop, ends.append)
        thread.join()
    assert [(end.job.name, end.status, end.line) for end in ends] == [("a", 75, "saved")]
    assert not (tmp_path / "b").exists()


def test_an_error_stops_the_running_programs(tmp_path):
    log = tmp_path / "a" / LOG

    def jobs():
        yield job(tmp_path, "a", SAVING)
        until(lambda: log.exists() and "ready" in log.read_text())
        raise OSError("the disk is full")

    with StopSignals() as stop, pytest.raises(OSError, match="full"):
        run_all(jobs(), [{}, {}], stop, lambda end: None)
    assert "saved" in log.read_text()


def test_a_folder_in_use_is_waited_for(tmp_path, capsys):
    def release():
        time.sleep(0.5)
        lock.__exit__(None, None, None)

    lock = locked(tmp_path / "a", "busy")
    lock.__enter__()
    thread = threading.Thread(target=release)
    thread.start()
    (end,) = run([job(tmp_path, "a", "pass")])
    thread.join()
    assert end.status == 0
    assert capsys.readouterr().out == "a: waiting for the process that still uses it\n"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a program outlives its parent")
def test_a_program_ends_with_its_parent_however_it_ends(tmp_path):
    # The parent starts it, and is killed; it writes the signal it got.
    log = tmp_path / "log"
    parent = (
        "import os, subprocess, sys, time; "
        f"subprocess.Popen([sys.executable, '-I', {str(BOUND)!r}, str(os.getpid()), '-c', {SAVING!r}], "
        f"stdout=open({str(log)!r}, 'wb')); time.sleep(600)"
    )
    with started(sys.executable, "-c", parent) as child:
        until(lambda: log.exists() and "ready" in log.read_text(), child)
        os.kill(child.process.pid, signal.SIGKILL)
        until(lambda: "saved" in log.read_text())
