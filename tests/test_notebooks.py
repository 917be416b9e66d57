"""The notebooks of examples/: every cell runs, in order, on smaller runs than a reader's; none is kept with outputs."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import pytest

from tests.finished_run import SETTINGS
from tests.made_runs import write_run_with_thresholds
from tests.running import call, write_config

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))


def adaptface(*words: object) -> None:
    """What the notebooks run as a child, within this process."""
    name, *flags = map(str, words)
    assert call(importlib.import_module(f"adaptface_jax.{name}.__main__"), *flags) == 0


def execute(name: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """Run the cells of a notebook; `parameters` replace those of its first cell. Returns its names."""
    names: dict[str, Any] = {"__name__": "__main__"}
    cells = json.loads((EXAMPLES / name).read_text(encoding="utf-8"))["cells"]
    for cell in cells:
        if cell["cell_type"] != "code":
            continue
        exec(compile("".join(cell["source"]), f"{name}, {cell['id']}", "exec"), names)
        if "parameters" in cell["metadata"].get("tags", ()):
            assert set(parameters) <= set(names)
            names |= parameters
        if "adaptface" in names:
            names["adaptface"] = adaptface
    return names


@pytest.fixture(autouse=True)
def no_window(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    matplotlib.use("Agg")
    yield
    plt.close("all")


def test_two_photographs(tmp_path, capsys):
    run = write_run_with_thresholds(tmp_path / "run")
    names = execute("1_two_photographs.ipynb", {"run": run})
    assert names["similarities"].shape == (36, 36) and len(names["found"].hits) == 18 and len(names["known"]) == 5
    assert "anna/0.png and anna/3.png: one person, more likely" in capsys.readouterr().out


def test_the_demo_run(finished_run, capsys):
    names = execute("2_the_demo_run.ipynb", {"run": finished_run})
    out = capsys.readouterr().out
    frozen = names["results"]["frozen"]["faces"]["accuracy"]
    assert f"accuracy {frozen:.2%}" in out and "adapted minus frozen: " in out
    assert f"{len(names['wrong'])} of 60 pairs are decided wrongly" in out and names["mean"].shape == (3, 3)


def test_your_own_faces(tmp_path, capsys):
    """On the model of the small finished run, so that its compiled step serves again."""
    own = {name: value for name, value in SETTINGS.items() if not name.startswith(("data.train", "data.bench", "mon"))}
    config = write_config(tmp_path / "small.py", own)
    settings = [f"--config={config}", "--config.train.steps=2"]
    names = execute("3_your_own_faces.ipynb", {"persons": 8, "pictures": 12, "settings": settings})
    out = capsys.readouterr().out
    assert set(names["results"]["benchmarks"]) == {"held"} and "person00/0.png and person01/1.png: " in out


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_kept_clean(path):
    """As nbformat 4.5 has it, without outputs: no picture of a face, no path of anybody's machine."""
    document = json.loads(path.read_text(encoding="utf-8"))
    assert (document["nbformat"], document["nbformat_minor"]) == (4, 5)
    assert document["metadata"]["kernelspec"]["name"] == "python3"
    cells = document["cells"]
    assert len({cell["id"] for cell in cells}) == len(cells)
    assert cells[0]["cell_type"] == "markdown" and cells[0]["source"][0].startswith("# ")
    for cell in cells:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None


def test_every_notebook_is_run_and_listed():
    listed = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    here = Path(__file__).read_text(encoding="utf-8")
    assert len(NOTEBOOKS) == 3
    assert all(f"({path.name})" in listed and f'execute("{path.name}"' in here for path in NOTEBOOKS)
