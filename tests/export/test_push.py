"""`--push_to_hub`: the folder in a repository, or one line with the reason, and the folder kept."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest
from huggingface_hub import constants

from adaptface_jax.export import __main__ as command
from tests.children import ran
from tests.export.hub import serving
from tests.running import call

TOKENS = {"writes": 200, "reads": 403}


WORDS = ("--weights=builtin", "--format=base", "--push_to_hub=owner/name")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_whole_folder_arrives_in_the_repository(tmp_path):
    """In a separate process: the hub's address is read only once."""
    with serving(TOKENS) as hub:
        told = {"HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path / "home"), "HF_TOKEN": "writes"}
        words = (sys.executable, "-m", "adaptface_jax", "export", *WORDS, f"--out={tmp_path / 'out'}")
        result = ran(*words, env=os.environ | told)
    assert (result.status, result.error) == (0, "")
    assert f"on the hub: {hub.address}/owner/name" in result.out
    found = contents(tmp_path / "out")
    assert {"README.md", "model.safetensors", "config.json", "face.png"} <= found.keys()
    assert hub.files == {"owner/name": found}
    assert hub.private == {"owner/name": True}


@pytest.mark.parametrize(
    ("token", "expected"),
    [(None, "hf auth login"), ("reads", "may not write to owner/name (status 403)"), ("away", "be reached")],
)
def test_refusals_of_the_hub_give_one_line_and_the_folder_stays(token, expected, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    if token is not None:
        monkeypatch.setenv("HF_TOKEN", token)
    with serving(TOKENS) as hub, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # nothing listens there
        away = f"http://127.0.0.1:{closed.getsockname()[1]}"
        monkeypatch.setattr(constants, "ENDPOINT", away if token == "away" else hub.address)
        assert call(command, *WORDS, f"--out={tmp_path / 'out'}") == 2
    error = capsys.readouterr().err
    assert error.startswith("error: --push_to_hub: ") and expected in error and error.count("\n") == 1
    assert f"hf upload owner/name {tmp_path / 'out'}" in error
    assert "model.safetensors" in contents(tmp_path / "out") and not hub.files
