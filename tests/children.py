"""Programs that tests start: waited for patiently, and ended with all their children, however the test ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import IO, Any, NamedTuple, TypeVar

# Seconds until waiting is given up. A busy machine may take a hundred times as long as an idle one.
PATIENCE = 900

FAKE_DEVICES = "--xla_force_host_platform_device_count=8"

Found = TypeVar("Found")


class Ended(NamedTuple):
    """How a program ended; negative statuses are signals."""

    status: int
    out: str
    error: str


class Child:
    """A running program. Its output goes to files: no pipe fills up, and none is left open."""

    def __init__(self, process: subprocess.Popen[bytes], out: IO[bytes], error: IO[bytes]) -> None:
        self.process, self._out, self._error = process, out, error

    @property
    def out(self) -> str:
        """What it has written to standard output so far."""
        return _text(self._out)

    @property
    def error(self) -> str:
        return _text(self._error)

    def end(self) -> Ended:
        """Wait until it ends by itself."""
        status = self.process.wait(PATIENCE)
        return Ended(status, self.out, self.error)

    def line(self, words: str) -> str:
        """The first line of its standard output that holds `words`, waited for."""
        return until(lambda: next((line for line in self.out.splitlines(True) if words in line), ""), self)


def one_device() -> dict[str, str]:
    """The environment of a separate process with one device, where these tests have eight."""
    return os.environ | {"XLA_FLAGS": os.environ.get("XLA_FLAGS", "").replace(FAKE_DEVICES, "")}


@contextlib.contextmanager
def started(*words: object, **options: Any) -> Iterator[Child]:
    """The program `words` in its own session; `options` are those of Popen."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as error:
        process = subprocess.Popen(
            [str(word) for word in words], stdin=subprocess.DEVNULL, stdout=out, stderr=error, start_new_session=True,
            **options,
        )  # fmt: skip
        try:
            yield Child(process, out, error)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def ran(*words: object, **options: Any) -> Ended:
    """Run a program to its end."""
    with started(*words, **options) as child:
        return child.end()


def until(happened: Callable[[], Found], *needed: Child) -> Found:
    """The first truthy value of `happened`; fails if a program it needs has ended before."""
    limit = time.monotonic() + PATIENCE
    while True:
        ended = [child for child in needed if child.process.poll() is not None]  # before the last check
        if found := happened():
            return found
        for child in ended:
            raise AssertionError(f"ended with {child.process.returncode}:\n{child.out[-2000:]}\n{child.error[-2000:]}")
        assert time.monotonic() < limit, f"nothing for {PATIENCE} s"
        time.sleep(0.05)


def _text(file: IO[bytes]) -> str:
    # The program writes through the same offset, which must not move.
    return os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0).decode(errors="replace")
