"""`adaptface`: the list of commands, how one is started, and the error for an unknown one."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import types
from pathlib import Path

import pytest

import adaptface_jax
from adaptface_jax import __main__
from tests.children import one_device

PACKAGE = Path(adaptface_jax.__file__).parent
COMMANDS = [
    "align", "annotate", "calibrate", "classify", "clean", "convert", "doctor", "embed", "evaluate", "export", "grid",
    "identify", "init", "lr_finder", "pack", "pairs", "replay", "report", "serve", "train", "verify",
]  # fmt: skip


def adaptface(*words: str, first: tuple[str, ...] = ("-m", "adaptface_jax")) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *first, *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env=one_device() | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )


def test_every_command_is_listed_with_its_own_words(capsys, monkeypatch):
    for words in ([], ["-h"], ["--help"]):
        monkeypatch.setattr(sys, "argv", ["adaptface", *words])
        assert __main__.main() == 0
        lines = capsys.readouterr().out.splitlines()
        rows = dict(line.split(maxsplit=1) for line in lines if line.startswith("  "))
        assert list(rows) == COMMANDS
        for name, row in rows.items():
            file = PACKAGE / name / "__main__.py"
            assert row and row == ast.get_docstring(ast.parse(file.read_text())).splitlines()[0]
        assert "adaptface COMMAND --help" in lines[-1]
        assert max(map(len, lines)) <= 120


def test_the_list_imports_next_to_nothing():
    code = "import sys; from adaptface_jax.__main__ import main; main(); print(len(sys.modules), *sys.modules)"
    words = adaptface("--help", first=("-c", code)).stdout.splitlines()[-1].split()
    assert not {"jax", "numpy", "flax", "ml_collections", "argparse"} & set(words)


@pytest.mark.parametrize(("word", "near"), [("trian", "did you mean train"), ("zzz", "the commands are align")])
def test_an_unknown_command(word, near, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["adaptface", word, "--help"])
    assert __main__.main() == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and near in err and repr(word) in err


def test_loading_is_reported_until_it_is_done(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "adaptface_jax.train.work", types.ModuleType("loading"))
    waited = []

    def wait(seconds):
        waited.append(seconds)
        if len(waited) == 3:
            sys.modules["adaptface_jax.train.work"].work = print

    __main__.say_loading("train", wait)
    assert capsys.readouterr().err == 2 * "adaptface train: loading jax and the rest ...\n" and max(waited) < 3


def test_the_version(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["adaptface", "--version"])
    assert __main__.main() == 0
    assert capsys.readouterr().out == f"adaptface_jax {adaptface_jax.__version__}\n"


@pytest.mark.parametrize("name", ["pack", "report"])
def test_a_command_helps_under_its_name_however_it_is_started(name):
    """A file and a package."""
    together, alone = adaptface(name, "--help"), adaptface("--help", first=("-m", f"adaptface_jax.{name}"))
    assert (together.returncode, together.stderr) == (0, "")
    assert together.stdout.startswith(f"usage: adaptface {name} [-h]")
    assert together.stdout == alone.stdout


def test_a_command_keeps_its_status_and_its_one_line(tmp_path):
    result = adaptface("pack", str(tmp_path / "absent"), str(tmp_path / "out"))
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
