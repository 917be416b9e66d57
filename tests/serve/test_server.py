"""The command: what it refuses before it starts, what it prints, and how it ends."""

from __future__ import annotations

import signal
import socket
import sys
import urllib.request

import pytest

from adaptface_jax.serve import __main__ as serve
from tests.children import one_device, started
from tests.running import call

# The extra `serve`, and its client.
pytest.importorskip("starlette")
pytest.importorskip("httpx")


@pytest.fixture
def said(run, capsys):
    """said(words) -> the status and standard error."""

    def say(*words):
        status = call(serve, f"--run={run}", *words)
        return status, capsys.readouterr().err

    return say


def test_without_the_extra_it_says_how_to_install_it(said, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    status, error = said("--port=0")
    assert status == 2 and error.count("\n") == 1 and "pip install 'adaptface_jax[serve]'" in error


def test_bad_flags_give_one_line(said, tmp_path, capsys):
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"--port={other.getsockname()[1]}"
        for words, expected in (
            ([taken], "choose another, or 0 for a free one"),
            (["--port=99999"], "--port: 99999 is out of range"),
            (["--host=203.0.113.1", "--port=0"], "--host: 203.0.113.1: "),
            (["--far=1e-3"], "--far: 0.001 is not known for lfw"),
            (["--index=absent.idx", "--port=0"], "holds no face index"),
        ):
            status, error = said(*words)
            assert status == 2 and error.count("\n") == 1 and expected in error, error
    assert call(serve, f"--run={tmp_path}", "--port=0") == 2
    assert "contains no run" in capsys.readouterr().err


def test_another_host_gives_a_warning(said):
    _, error = said("--host=0.0.0.0", "--port=0", "--index=absent.idx")
    assert error.startswith("warning: --host=0.0.0.0: anyone who reaches this machine")


def test_a_signal_stops_it_after_requests_in_progress(run, people):
    words = (sys.executable, "-m", "adaptface_jax.serve", f"--run={run}", f"--index={people}", "--port=0")
    with started(*words, env=one_device()) as child:
        address = child.line("serving: ").split()[1]
        with urllib.request.urlopen(f"{address}about") as answer:
            assert b'"people": 2' in answer.read()
        child.process.send_signal(signal.SIGTERM)
        ended = child.end()
    assert ended.status == 0 and ended.out.endswith("stopped; nothing was stored\n")
    assert "index: 2 people" in ended.out and ended.error == ""
