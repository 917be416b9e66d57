# SPDX-License-Identifier: Apache-2.0
"""The code on the pages runs.

A page is a story: its blocks run in order, in one folder (see `stage`), and what they leave is there for the next.

    ```bash      each of our commands runs in this process, a training in small; what other programs
                 name of this project (files, targets, extras) is looked for
    ```python    runs, in one namespace for the page; with title="mine.py" it is that file
    ```text      right after a block that ran: each line stands in what that printed, any number for any number, `...`
                 for anything; elsewhere what the page says
    <!-- needs: casia-webface -->    before a block: what it takes is not here, so its flags, settings, imports and
                                     names are looked up and no more
"""

from __future__ import annotations

import ast
import importlib
import re
import shutil
from pathlib import Path

import pytest

from tests.docs import stage
from tests.docs.pages import PAGES, Block, blocks, name_of

SHOWN = ("bash", "python", "text", "csv", "json", "yaml", "toml")
NUMBER = r"[-+]?\d[\d.,]*"


@pytest.fixture(scope="module")
def laid_out(finished_run, tmp_path_factory) -> Path:
    """The folder that a page's commands find; each page has a copy."""
    folder = tmp_path_factory.mktemp("pages")
    stage.lay_out(folder / "stage", stage.demo_run(finished_run, folder))
    return folder / "stage"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_code_on_a_page_runs(page, tmp_path, monkeypatch, capsys, request):
    found = blocks(page)
    assert not [block.place for block in found if block.language not in SHOWN]
    running = "\n".join(block.text for block in found if block.language in ("bash", "python") and not block.needs)
    if "adaptface" in running:
        shutil.copytree(request.getfixturevalue("laid_out"), tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "page"}
    printed = None
    for block in found:
        try:
            if block.language == "text" and printed is not None and not block.needs:
                compare(block, printed)
            printed = None
            if block.title:
                (tmp_path / block.title).write_text(block.text)
            elif block.language == "bash":
                printed = shell(block, capsys)
            elif block.language == "python":
                printed = python(block, names, capsys)
        except Exception as error:
            raise AssertionError(f"{block.place}: {error}") from error


def shell(block: Block, capsys: pytest.CaptureFixture) -> str | None:
    """What our commands of a block printed; None where it ran none."""
    printed = None
    for words in stage.lines_of(block.text):
        own = stage.ours(words)
        if own is None:
            stage.check(words)
        elif block.needs:
            stage.parse(own)
        else:
            capsys.readouterr()
            status = stage.run(own)
            said = capsys.readouterr()
            assert status == 0, f"{' '.join(words)}: status {status}: {said.err[-2000:]}"
            printed = (printed or "") + said.out + said.err
    return printed


def python(block: Block, names: dict[str, object], capsys: pytest.CaptureFixture) -> str | None:
    """What a block printed that ran; None for one that was not run."""
    tree = ast.parse(block.text)
    if block.needs:
        look_up(tree)
        return None
    capsys.readouterr()
    exec(compile(tree, block.place, "exec"), names)
    return capsys.readouterr().out


def look_up(tree: ast.Module) -> None:
    """Whether the modules and names that code takes from this project are there."""
    known: dict[str, object] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("adaptface_jax"):
                    known[alias.asname or alias.name.partition(".")[0]] = importlib.import_module(alias.name)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("adaptface_jax"):
            module = importlib.import_module(node.module or "")
            for alias in node.names:
                known[alias.asname or alias.name] = getattr(module, alias.name)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in known:
            getattr(known[node.value.id], node.attr)


def compare(block: Block, printed: str) -> None:
    """Raise AssertionError for the first line of the page that was not printed."""
    lines = [" ".join(line.split()) for line in printed.splitlines()]
    for line in block.text.splitlines():
        parts = re.split(rf"({NUMBER}|\.\.\.|█+)", " ".join(line.split()))
        kinds = {True: ".*", False: NUMBER}
        pattern = "".join(
            re.escape(part) if even % 2 == 0 else kinds[part == "..." or "█" in part] for even, part in enumerate(parts)
        )
        assert any(re.fullmatch(pattern, said) for said in lines), f"no line like {line!r} in:\n{printed}"
