# SPDX-License-Identifier: Apache-2.0
"""Processes decode a batch as the calling thread does, whatever is in it, and are gone with their parent."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from adaptface_jax.core.errors import InputError, RunError
from adaptface_jax.data import decoding
from adaptface_jax.data.bad_records import BadRecords
from adaptface_jax.data.decoding import Processes, decoded, decoder
from adaptface_jax.data.pipeline import batches, evaluation_batches
from adaptface_jax.data.record import Record

from .packing import encoded, picture

SIZE = 24
JPEGS = [encoded(picture(seed, SIZE, SIZE), "JPEG") for seed in range(12)]
MIXED = [*JPEGS[:3], encoded(picture(7, 40, 31), "PNG"), b"nothing", JPEGS[3][:200], None, JPEGS[4]]
NAMES = [f"picture {number}" for number in range(len(MIXED))]


@pytest.fixture
def processes():
    made = Processes(2)
    yield made
    made.close()


@pytest.fixture
def in_processes(monkeypatch, processes):
    """Whatever the machine has."""
    monkeypatch.setattr("adaptface_jax.data.pipeline.decoder", lambda threads: processes)


def both(*forms):
    found = []
    for form in forms:
        out = np.zeros((len(MIXED), SIZE, SIZE, 3), np.uint8)
        found.append((out, form(MIXED, NAMES, out)))
    return found


def test_the_same_pixels_and_the_same_failures(processes):
    (here, why), (there, why_there) = both(decoded, processes)
    np.testing.assert_array_equal(here, there)
    assert why == why_there
    assert sorted(why) == [4, 5]
    assert why[4].startswith("picture 4: cannot decode the image")


def test_decoded_images_stay_here(processes):
    out = np.zeros((2, SIZE, SIZE, 3), np.uint8)
    assert processes([picture(1, SIZE, SIZE), JPEGS[0]], ["a", "b"], out) == {}
    np.testing.assert_array_equal(out[0], picture(1, SIZE, SIZE))
    assert not processes._all


class Files:
    """Record i is a JPEG file of class i % 2; one of them is broken."""

    description, num_classes, class_names, domains = "files", 2, ("a", "b"), None
    labels = np.arange(12, dtype=np.int32) % 2

    def __init__(self, broken: int = -1) -> None:
        self.broken = broken

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> Record:
        return Record(b"?" if index == self.broken else JPEGS[index], index % 2, self.key(index))

    def key(self, index: int) -> str:
        return f"file {index}"


def taken(threads: int, broken: int = -1) -> tuple[list[dict[str, np.ndarray]], BadRecords]:
    bad = BadRecords(None, 5)
    iterator = batches(Files(broken), 4, SIZE, seed=2, threads=threads, bad_records=bad)
    found = [next(iterator) for _ in range(6)]
    iterator.close()
    return found, bad


@pytest.mark.parametrize("broken", [-1, 5])
def test_a_training_sees_the_same(in_processes, monkeypatch, broken):
    (there, bad_there), _ = taken(2, broken), monkeypatch.undo()
    here, bad_here = taken(0, broken)
    for one, other in zip(there, here, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])
    assert len(bad_there) == len(bad_here)


def test_an_evaluation_names_what_it_cannot_read(in_processes):
    images = [*JPEGS[:5], b"?", *JPEGS[6:]]
    with pytest.raises(InputError, match="image 5: cannot decode the image"):
        list(evaluation_batches(images, 4, SIZE, threads=2))


def test_a_process_that_is_killed_ends_the_run_with_one_line(processes):
    both(processes)
    processes._all[0]._process.kill()
    with pytest.raises(RunError, match=r"ended with status -9 .*data\.threads=3"):
        both(processes)
    both(processes)  # who waited for it is not left waiting


@pytest.mark.parametrize("size", [10, 100_000])
def test_what_a_dead_process_did_not_read_changes_nothing(processes, size):
    request = [b"?" * size], ["x"], np.zeros((1, 8, 8, 3), np.uint8)
    assert list(processes(*request)) == [0]
    processes._all[0]._process.kill()
    processes._all[0]._process.wait()  # so that writing fails, not reading
    with pytest.raises(RunError, match="ended with status -9"):
        processes(*request)
    assert list(processes(*request)) == [0]


def test_they_are_gone_with_a_parent_that_is_killed():
    code = (
        "import numpy as np, time\nfrom adaptface_jax.data.decoding import Processes\n"
        "made = Processes(1)\nmade([b''], ['x'], np.zeros((1, 8, 8, 3), np.uint8))\n"
        "print(made._all[0]._process.pid, flush=True)\ntime.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        child = int(parent.stdout.readline())
        os.kill(parent.pid, signal.SIGKILL)
    deadline = time.monotonic() + 20
    while _lives(child):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _lives(process: int) -> bool:
    stat = Path(f"/proc/{process}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def test_they_say_nothing_when_nobody_takes_their_answer():
    child = subprocess.Popen(
        [sys.executable, "-c", "from adaptface_jax.data.decoding import serve; serve()"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    child.stdout.close()
    with child:
        _, said = child.communicate(pickle.dumps((JPEGS[:8], NAMES, (8, SIZE, SIZE, 3))))
    assert (child.returncode, said) == (0, b"")


REQUEST = pickle.dumps((JPEGS[:8], NAMES, (8, SIZE, SIZE, 3)))


@pytest.mark.parametrize("cut", [1, 12, len(REQUEST) // 2, len(REQUEST) - 1])
def test_they_say_nothing_when_the_parent_is_killed_within_a_request(cut):
    command = [sys.executable, "-c", "from adaptface_jax.data.decoding import serve; serve()"]
    child = subprocess.run(command, input=REQUEST[:cut], capture_output=True, check=False)
    assert (child.returncode, child.stdout, child.stderr) == (0, b"", b"")


@pytest.mark.parametrize("cut", [0, 3, len(pickle.dumps({0: "what is wrong"})), -1])
def test_a_process_that_is_killed_within_its_answer_ends_the_run_with_one_line(processes, cut):
    said = (pickle.dumps({0: "what is wrong"}) + bytes(SIZE * SIZE * 3))[:cut]
    process = decoding._Process()
    process.end()
    code = f"import sys; sys.stdin.buffer.read(1); sys.stdout.buffer.write({said[:200]!r})"
    process._process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    processes._free.put(process)
    processes._all.append(process)
    with pytest.raises(RunError, match="a process that decodes images ended with status 0"):
        processes([b"?"], ["x"], np.zeros((1, SIZE, SIZE, 3), np.uint8))


def test_none_is_started_once_they_are_closed(processes):
    process = decoding._Process()
    processes._all.append(process)
    processes._free.put(process)

    def ask():
        with pytest.raises(RunError):
            both(processes)

    within = threading.Thread(target=ask)
    os.kill(process._process.pid, signal.SIGSTOP)  # so that the thread waits for an answer
    within.start()
    while not processes._free.empty():
        time.sleep(0.01)
    processes.close()
    within.join()
    assert processes._all == [process]
    with pytest.raises(RunError, match="have ended"):
        both(processes)


def test_few_threads_decode_themselves_and_many_share_processes():
    assert decoder(0) is decoder(decoding.FEW) is decoded
    assert decoder(4) is decoder(4)
    assert isinstance(decoder(4), Processes)


def test_a_process_does_without_jax():
    code = "import sys, adaptface_jax.data.decoding; assert 'jax' not in sys.modules and 'grain' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
