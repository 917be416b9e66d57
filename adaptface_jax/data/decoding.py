# SPDX-License-Identifier: Apache-2.0
"""The images of a batch, decoded by the calling thread or, on many cores, by processes of their own.

Threads share Python's lock: on 16 cores of a Xeon they decoded 5,400 small JPEG files a second, processes 21,700. A
process is given a batch and decodes it, while a thread here waits; it holds nothing between two batches, ignores the
terminal's signals and ends when the pipe from its parent does. (`core.workers` would start the caller's main program in
each process, copy every batch and end with the first process that dies.)
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import functools
import os
import pickle
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from adaptface_jax.core.errors import InputError, RunError
from adaptface_jax.data.decode import decode, to_size

PIPE = 1 << 20  # bytes
FEW = 3  # threads that do not stand in each other's way
ENDED = EOFError, pickle.UnpicklingError  # what a pipe's end is to pickle, between two messages and within one

Encoded = bytes | np.ndarray | None
Failures = dict[int, str]  # row -> what is wrong with its image
# Decodes images, whose names errors tell, into rows of uint8 [N, S, S, 3]; a None leaves its row as it is.
Decoder = Callable[[Sequence[Encoded], Sequence[str], np.ndarray], Failures]


def decoder(threads: int) -> Decoder:
    """For this many batches at a time. With more than FEW, processes decode, which all callers share."""
    return decoded if threads <= FEW else _processes(threads)


def decoded(images: Sequence[Encoded], names: Sequence[str], out: np.ndarray) -> Failures:
    """By the calling thread."""
    failures = {}
    for row, (image, name) in enumerate(zip(images, names, strict=True)):
        if image is None:
            continue
        try:
            out[row] = to_size(decode(image, name, out.shape[1]), out.shape[1])
        except InputError as error:
            failures[row] = str(error)
    return failures


class Processes:
    """At most `count` processes, started when they are needed."""

    def __init__(self, count: int) -> None:
        self._count, self._all = count, list[_Process]()
        self._free: queue.SimpleQueue[_Process] = queue.SimpleQueue()
        self._starting, self._closed = threading.Lock(), False

    def __call__(self, images: Sequence[Encoded], names: Sequence[str], out: np.ndarray) -> Failures:
        """As `decoded`. Raises RunError if a process dies."""
        if any(isinstance(image, np.ndarray) for image in images):  # nothing to decode
            return decoded(images, names, out)
        process = self._taken()
        try:
            return process.decoded(images, names, out)
        except BaseException:  # nobody knows what is left in its pipes, and others may wait for it
            process.end()
            with self._starting:
                if not self._closed:
                    self._all.remove(process)
                    process = _Process()
                    self._all.append(process)
            raise
        finally:
            self._free.put(process)

    def _taken(self) -> _Process:
        with self._starting:
            if self._closed:  # a thread of a pipeline that nobody reads any more
                raise RunError("the processes that decode images have ended")
            try:
                return self._free.get_nowait()
            except queue.Empty:
                if len(self._all) < self._count:
                    self._all.append(_Process())
                    return self._all[-1]
        return self._free.get()

    def close(self) -> None:
        """Ends all processes; none is started any more."""
        with self._starting:
            self._closed = True
        for process in self._all:
            process.end()


@functools.cache
def _processes(count: int) -> Processes:
    made = Processes(count)
    atexit.register(made.close)
    return made


class _Process:
    def __init__(self) -> None:
        root = str(Path(__file__).resolve().parents[2])  # also of a checkout that is not installed
        paths = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", f"from {__name__} import serve; serve()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": paths, "OPENBLAS_NUM_THREADS": "1"},
            process_group=0,
        )
        with contextlib.suppress(OSError, AttributeError):  # Linux: a wide pipe is read in few pieces
            fcntl.fcntl(self._process.stdout, fcntl.F_SETPIPE_SZ, PIPE)  # type: ignore[arg-type]

    def decoded(self, images: Sequence[Encoded], names: Sequence[str], out: np.ndarray) -> Failures:
        asked: Any = self._process.stdin
        answered: Any = self._process.stdout
        try:
            pickle.dump((images, names, out.shape), asked)
            asked.flush()
            failures = pickle.load(answered)
            if answered.readinto(out.reshape(-1)) < out.size:
                raise EOFError
        except (OSError, ValueError, *ENDED):  # ValueError: of a pipe that was closed meanwhile
            status = self._process.wait()
            raise RunError(
                f"a process that decodes images ended with status {status} (out of memory?); run the same command to "
                f"resume, with data.threads={FEW} to decode without such processes"
            ) from None
        return failures

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):  # what was not written cannot be written any more
                pipe.close()  # type: ignore[union-attr]


def serve() -> None:
    """In such a process: answers on standard output what comes on standard input."""
    asked, answer = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # whatever is printed
    while True:
        try:
            images, names, shape = pickle.load(asked)
        except ENDED:  # the parent is gone, perhaps killed in the middle of a request
            return
        out = np.zeros(shape, np.uint8)
        failures = decoded(images, names, out)
        try:
            pickle.dump(failures, answer)
            answer.write(out.data)
            answer.flush()
        except BrokenPipeError:  # the parent was killed; an ordinary end would try once more to write
            os._exit(0)
