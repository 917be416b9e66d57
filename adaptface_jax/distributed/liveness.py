# SPDX-License-Identifier: Apache-2.0
"""A relay in front of jax's coordinator: the processes of a run detect the loss of another before jax's runtime does.

jax's client aborts the program, with log lines of its runtime and status 134, when its connection breaks, and its
service does not report a dead process until its heartbeat expires. Neither is accessible from Python. So every process
puts a relay on its side of the connection, which detects a broken one first.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections.abc import Callable

SILENCE_SECONDS = 20  # after which an unreachable machine is considered lost
RETRY_SECONDS = 0.2

Address = tuple[str, int]


class Relay:
    """Passes connections to `listener` on to `target`, both ways, in daemon threads.

    guests: whether the other processes connect (to the first process), or the target is one (in the others).
    lost: called, in one of the threads, when another process breaks a connection that existed at `met`.
    patience: seconds to wait for the target.
    """

    def __init__(
        self, listener: socket.socket, target: Address, guests: bool, lost: Callable[[], None], patience: float
    ) -> None:
        self._listener, self._target, self._guests, self._lost = listener, target, guests, lost
        self._patience = patience
        self._met = self._leaving = False
        _start(self._accept)

    def met(self) -> None:
        """All are connected: from now on these connections must last until `leave`."""
        self._met = True

    def leave(self) -> None:
        """The run is over: from now on any process may disconnect."""
        self._leaving = True

    def _accept(self) -> None:
        while self._listener.fileno() >= 0:
            try:
                near, _ = self._listener.accept()
            except OSError:  # given up before it was accepted, no descriptor is free, or the listener was closed
                time.sleep(RETRY_SECONDS)
                continue
            _start(self._serve, near, not self._met)

    def _serve(self, near: socket.socket, watched: bool) -> None:
        with near:
            if (far := self._connect(near)) is None:
                return
            _keep_alive(near if self._guests else far)
            over = threading.Event()
            with far:
                other = _start(self._forward, near, far, over, watched and self._guests)
                self._forward(far, near, over, watched and not self._guests)
                other.join()

    def _forward(self, source: socket.socket, sink: socket.socket, over: threading.Event, watched: bool) -> None:
        """Pass bytes on until `source` ends; a loss is reported before `sink` is closed."""
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                sink.sendall(data)
        if watched and self._met and not (over.is_set() or self._leaving):
            self._lost()
        over.set()
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_RDWR)

    def _connect(self, near: socket.socket) -> socket.socket | None:
        """A connection to the target, retried while `near` waits."""
        until = time.monotonic() + self._patience
        while time.monotonic() < until and not _ended(near):
            try:
                far = socket.create_connection(self._target, timeout=SILENCE_SECONDS)
            except OSError:
                time.sleep(RETRY_SECONDS)
                continue
            far.settimeout(None)
            return far
        return None


def listen_for_all(port: int) -> socket.socket:
    """A listening socket on every address of this machine; raises OSError where the port is taken."""
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("", port))


def listen_here() -> socket.socket:
    """A listening socket for this machine only, on a free port."""
    return socket.create_server(("127.0.0.1", 0))


def _ended(connection: socket.socket) -> bool:
    if not select.select([connection], [], [], 0)[0]:
        return False
    try:
        return not connection.recv(1, socket.MSG_PEEK)
    except OSError:
        return True


def _keep_alive(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", SILENCE_SECONDS // 4),
        ("TCP_KEEPINTVL", SILENCE_SECONDS // 4),
        ("TCP_KEEPCNT", 3),
        ("TCP_USER_TIMEOUT", SILENCE_SECONDS * 1000),
    ):
        if hasattr(socket, name):  # not every system has them all
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _start(target: Callable[..., None], *arguments: object) -> threading.Thread:
    thread = threading.Thread(target=target, args=arguments, daemon=True)
    thread.start()
    return thread
