# SPDX-License-Identifier: Apache-2.0
"""The relay in front of the coordinator: bytes pass unchanged, and only a loss is reported."""

from __future__ import annotations

import socket
import threading

import pytest

from adaptface_jax.distributed.liveness import Relay, listen_here
from tests.children import PATIENCE

WHILE = 0.3  # seconds in which nothing should happen


@pytest.fixture(params=[True, False], ids=["guests are the others", "the target is another"])
def line(request):
    """(relay, its target's end, its guest's end, told): a connection through a relay; `told` is set by a loss."""
    told = threading.Event()
    with listen_here() as target, listen_here() as listener:
        relay = Relay(listener, target.getsockname(), request.param, told.set, 60)
        with socket.create_connection(listener.getsockname(), timeout=PATIENCE) as guest:
            guest.sendall(b"hello")
            with target.accept()[0] as served:
                served.settimeout(PATIENCE)
                assert served.recv(5) == b"hello"
                other, own = (guest, served) if request.param else (served, guest)
                yield relay, own, other, told


def test_it_ends_quietly_once_its_listener_is_closed():
    with listen_here() as target, listen_here() as listener:
        before = set(threading.enumerate())
        Relay(listener, target.getsockname(), True, lambda: None, 60)
        (thread,) = set(threading.enumerate()) - before
        listener.shutdown(socket.SHUT_RDWR)  # its next attempt to accept fails
        thread.join(WHILE)
        assert thread.is_alive()
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_bytes_pass_both_ways(line):
    _, own, other, _ = line
    sent = bytes(range(256)) * 4000
    for source, sink in ((own, other), (other, own)):
        threading.Thread(target=source.sendall, args=(sent,)).start()
        found = b""
        while len(found) < len(sent):
            found += sink.recv(1 << 20)
        assert found == sent


def test_a_loss_is_reported_before_our_end_notices(line):
    relay, own, other, told = line
    relay.met()
    heard = []
    relay._lost = lambda: (heard.append(is_open(own)), told.set())
    other.close()
    assert told.wait(PATIENCE) and heard == [True]
    assert own.recv(1) == b""


def is_open(connection: socket.socket) -> bool:
    connection.settimeout(WHILE)
    try:
        return connection.recv(1) != b""
    except TimeoutError:
        return True


@pytest.mark.parametrize("ending", ["own end first", "before they met", "after leaving"])
def test_other_endings_are_not_a_loss(line, ending):
    relay, own, other, told = line
    if ending != "before they met":
        relay.met()
    if ending == "after leaving":
        relay.leave()
    first, last = (own, other) if ending == "own end first" else (other, own)
    first.close()
    assert last.recv(1) == b""
    assert not told.wait(WHILE)


def test_a_late_target_is_waited_for():
    # Bound, and refusing connections until it listens.
    with socket.socket() as target, listen_here() as listener:
        target.bind(("127.0.0.1", 0))
        Relay(listener, target.getsockname(), False, lambda: None, 60)
        with socket.create_connection(listener.getsockname(), timeout=PATIENCE) as guest:
            guest.sendall(b"early")
            threading.Event().wait(WHILE)
            target.listen()
            with target.accept()[0] as served:
                assert served.recv(5) == b"early"
