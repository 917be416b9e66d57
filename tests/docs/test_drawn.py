"""What the handbook draws and tabulates is what the package and the results files hold."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, ROOT, handbook, links, name_of

FIGURES = ROOT / "docs" / "figures"
RESULTS = ROOT / "benchmarks" / "results"
NOT_YET_MEASURED = {"gpu.json"}  # on an accelerator, by `make bench-gpu`


def test_every_figure_is_drawn_by_the_script_and_shown_on_a_page(tmp_path):
    spec = importlib.util.spec_from_file_location("draw", FIGURES / "draw.py")
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    script.draw(tmp_path)
    shown = {Path(link).name for page in PAGES for link in links(page) if "figures/" in link}
    drawn = {file.name for file in tmp_path.iterdir()}
    assert drawn == shown == {file.name for file in FIGURES.glob("*.svg")}


def test_the_table_of_steps_holds_every_measured_step():
    page = handbook.filled("<!-- generated: steps -->")
    held = {file.name: json.loads(file.read_text(encoding="utf-8")) for file in RESULTS.glob("*.json")}
    steps = {name: run for name, run in held.items() if "problem" in run and "results" in run}
    assert set(re.findall(r"^`(\S+)`: batch", page, re.MULTILINE)) == set(steps)
    speeds = [f"{found['images_per_second']:.2f}" for run in steps.values() for found in run["results"]]
    assert sorted(re.findall(r"^\| [^|]+ \| ([\d.]+) \|", page, re.MULTILINE)) == sorted(speeds)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_results_file_that_a_page_names_is_there(page):
    place = "" if page.name == "performance.md" else "benchmarks/results/"  # that page leaves it out
    named = set(re.findall(rf"`{place}(?:benchmarks/results/)?(\w+\.json)`", page.read_text(encoding="utf-8")))
    assert named - NOT_YET_MEASURED <= {file.name for file in RESULTS.glob("*.json")}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_file_of_the_repository_that_a_page_names_is_there(page):
    named = re.findall(
        r"`((?:adaptface_jax|benchmarks|tests|tools|configs)/[\w./]+)`", page.read_text(encoding="utf-8")
    )
    assert not [name for name in named if not (ROOT / name).exists() and Path(name).name not in NOT_YET_MEASURED]
