"""A headless Chromium driven over its DevTools pipe, using only the standard library."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from tests.children import PATIENCE, started

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--remote-debugging-pipe",
)  # fmt: skip
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


def executable() -> str | None:
    """The browser's path, or None if none is installed."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


# The browser reads its commands from file 3 and writes its answers to file 4.
PIPED = """
import fcntl, os, sys
ends = [fcntl.fcntl(int(end), fcntl.F_DUPFD, 10) for end in sys.argv[1:3]]
for place, end in zip((3, 4), ends):
    os.dup2(end, place)
os.execvp(sys.argv[3], sys.argv[3:])
"""


class Page:
    """One tab. `requests` and `complaints` grow while it loads: requested URLs, and console messages."""

    def __init__(self, reader: int, writer: int) -> None:
        self._reader, self._writer = reader, writer
        self._next, self._left = 0, b""
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.loaded = False
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = None
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and return its answer."""
        self._next += 1
        message: dict[str, Any] = {"id": self._next, "method": method, "params": params}
        if getattr(self, "_session", None):
            message["sessionId"] = self._session
        os.write(self._writer, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._next:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._left:
            if not select.select([self._reader], [], [], PATIENCE)[0]:
                raise RuntimeError(f"the browser said nothing for {PATIENCE} s")
            more = os.read(self._reader, 1 << 20)
            if not more:
                raise RuntimeError("the browser is gone")
            self._left += more
        first, _, self._left = self._left.partition(b"\0")
        event = json.loads(first)
        self._note(event.get("method", ""), event.get("params", {}))
        return event

    def _note(self, method: str, params: dict[str, Any]) -> None:
        if method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Log.entryAdded":
            self.complaints.append(params["entry"]["text"])
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(str(params["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled":
            self.complaints.append(str(params["args"]))
        elif method == "Page.loadEventFired":
            self.loaded = True

    def show(self, address: str, width: int, dark: bool = False, height: int = 900) -> Self:
        """Open an address in a window of this width, and wait until it is loaded."""
        self.requests.clear()
        self.complaints.clear()
        self.ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[scheme])
        self.loaded = False
        self.ask("Page.navigate", url=address)
        while not self.loaded:
            self._read()
        return self

    def value(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page."""
        return self.ask("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def screenshot(self, path: Path) -> None:
        """The whole page as PNG."""
        data = self.ask("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        path.write_bytes(base64.b64decode(data))


@contextlib.contextmanager
def browser() -> Iterator[Page]:
    """A tab of a fresh browser that forgets everything."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile, contextlib.ExitStack() as ends:
        to_read, their_writing = os.pipe()
        their_reading, to_write = os.pipe()
        theirs = their_reading, their_writing
        for end in (to_read, to_write):
            ends.callback(os.close, end)
        program = (sys.executable, "-c", PIPED, *theirs, executable(), *FLAGS, f"--user-data-dir={profile}")
        with contextlib.ExitStack() as given:
            for end in theirs:
                given.callback(os.close, end)
            ends.enter_context(started(*program, pass_fds=theirs))
        yield Page(to_read, to_write)
