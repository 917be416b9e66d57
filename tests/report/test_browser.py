"""The pages in a real browser: everything shows, nothing is requested, nothing overflows, wide and narrow."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from adaptface_jax.report import __main__ as report
from adaptface_jax.training.monitor import read_metrics
from tests.browser import Page, browser, executable
from tests.made_classifications import of_attributes, of_classes, results_of, rows_of, write_classification_run
from tests.running import call

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(executable() is None, reason="no Chromium is installed"),
]

# Elements as wide as their box allows, and those that overflow the page.
STICKS_OUT = """
[...document.querySelectorAll('body *')].filter(e => !e.closest('.wide') && !e.closest('svg')
  && e.getBoundingClientRect().right > document.documentElement.clientWidth + 0.5).map(e => e.outerHTML.slice(0, 80))
"""
SHOWN = """
[...document.querySelectorAll('svg')].filter(e => !e.closest('details')
  && (e.getBoundingClientRect().width < 200 || e.getBoundingClientRect().height < 60)).length
"""


@pytest.fixture(scope="module")
def tab() -> Iterator[Page]:
    with browser() as page:
        yield page


@pytest.fixture(scope="module")
def pages(run, other, tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    assert call(report, run, other, f"--out={folder}") == 0
    return {"results": run / "results.html", "run": folder / f"{run.name}.html", "index": folder / "index.html"}


@pytest.fixture(scope="module")
def classification_pages(tmp_path_factory) -> Path:
    """5 attributes, 20 classes, 200 classes, and all of them side by side."""
    folder = tmp_path_factory.mktemp("classification")
    found = {"attributes": of_attributes(0.9), "few": of_classes(0.6, 20), "many": of_classes(0.5, 200)}
    for name, split in found.items():
        results = results_of(split)
        write_classification_run(folder / name, results, rows_of(results))
    assert call(report, *[folder / name for name in found], f"--out={folder}") == 0
    return folder


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("name", ["results", "run", "index"])
def test_a_page_shows_everything_and_asks_for_nothing(tab, pages, name, dark, width):
    shows_everything(tab, pages[name], dark, width, least=4 if name == "index" else 10)


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize(("name", "least"), [("attributes", 7), ("few", 6), ("many", 5), ("index", 5)])
def test_so_does_a_page_of_classification(tab, classification_pages, name, least, dark, width):
    shows_everything(tab, classification_pages / f"{name}.html", dark, width, least)


def shows_everything(tab: Page, path: Path, dark: bool, width: int, least: int) -> None:
    """And requests nothing, and overflows nowhere; least: the minimum number of figures."""
    tab.show(path.as_uri(), width, dark)
    assert tab.complaints == []
    assert [place for place in tab.requests if not place.startswith("data:")] == [path.as_uri()]
    drawn = len(re.findall("<svg ", path.read_text()))
    assert tab.value("document.querySelectorAll('svg').length") == drawn >= least
    assert tab.value(SHOWN) == 0, "a figure is too small to read"
    assert tab.value("document.documentElement.scrollWidth") == width
    assert tab.value(STICKS_OUT) == []
    paper = tab.value("getComputedStyle(document.body).backgroundColor")
    assert paper == ("rgb(21, 24, 27)" if dark else "rgb(251, 251, 249)")


def test_what_a_page_would_load_is_stopped(tab, pages, tmp_path):
    """The policy in the page works: else the test above could not notice a request added later."""
    page = pages["results"].read_text().replace("</main>", '<img src="https://example.invalid/a.png"></main>')
    (tmp_path / "loads.html").write_text(page)
    tab.show((tmp_path / "loads.html").as_uri(), 800)
    assert any("Content Security Policy" in complaint for complaint in tab.complaints)


def test_links_lead_from_the_index_to_each_run(tab, pages, run, other):
    tab.show(pages["index"].as_uri(), 1280)
    links = tab.value("[...document.querySelectorAll('a')].map(a => a.getAttribute('href'))")
    assert set(links) == {f"{run.name}.html", f"{other.name}.html"}
    assert all((pages["index"].parent / link).is_file() for link in links)


# A wide table scrolled to the right: whether the first column is still where it was.
STAYS = """
(() => { const box = [...document.querySelectorAll('.wide')].find(e => e.scrollWidth > e.clientWidth + 60);
  if (!box) return null;
  box.scrollLeft = 60;
  const gap = box.querySelector('tbody th').getBoundingClientRect().left - box.getBoundingClientRect().left;
  return box.scrollLeft > 0 && gap >= 0 && gap < 3; })()
"""


def test_the_first_column_of_a_wide_table_stays(tab, pages):
    tab.show(pages["index"].as_uri(), 390)
    assert tab.value(STAYS) is True


# The middle of the strip of the k-th stop of the first chart that has any; and what its page shows of all stops.
STRIP = """
(() => { const chart = [...document.querySelectorAll('svg')].find(e => e.querySelector('.strip'));
  chart.scrollIntoView({block: 'center'});
  const box = chart.querySelectorAll('.strip')[%d].getBoundingClientRect();
  return [box.left + box.width / 2, box.top + box.height / 2]; })()
"""
TOLD = """
[...document.querySelectorAll('.stop > g')].filter(e => getComputedStyle(e).visibility == 'visible')
  .map(e => e.querySelector('text').textContent)
"""


@pytest.mark.parametrize("width", [1280, 390])
def test_the_pointer_shows_the_values_of_a_curve(tab, pages, run, width):
    losses = {row["step"]: row["train/loss"] for row in read_metrics(run) if "train/loss" in row}
    tab.show(pages["run"].as_uri(), width)
    assert tab.value(TOLD) == []
    for place, step in enumerate(sorted(losses)[:2]):
        x, y = tab.value(STRIP % place)
        tab.ask("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        (told,) = tab.value(TOLD)
        assert told.startswith(f"step {step}● loss {losses[step]:.4g}, mean ")
        assert tab.value("document.documentElement.scrollWidth") == width


def test_the_same_values_are_a_table_for_the_keyboard(tab, pages, run):
    losses = [row["train/loss"] for row in read_metrics(run) if "train/loss" in row]
    tab.show(pages["run"].as_uri(), 1280)
    tab.value("document.querySelector('.values summary').focus()")
    for kind in ("keyDown", "keyUp"):
        tab.ask("Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", windowsVirtualKeyCode=13, text="\r")
    told = tab.value("[...document.querySelector('.values[open]').querySelectorAll('td')].map(e => e.textContent)")
    assert [cell.split(",")[0] for cell in told] == [f"{loss:.4g}" for loss in losses]


@pytest.mark.parametrize("name", ["run", "index"])
def test_a_printed_page_fits_the_paper(tab, pages, name):
    """A4 within its margins is about 700 px wide; tables there cannot scroll."""
    tab.show(pages[name].as_uri(), 700)
    tab.ask("Emulation.setEmulatedMedia", media="print")
    assert tab.value("document.documentElement.scrollWidth") <= 700
    tab.ask("Emulation.setEmulatedMedia", media="")
    paper = {"paperWidth": 8.27, "paperHeight": 11.69}
    printed = base64.b64decode(tab.ask("Page.printToPDF", preferCSSPageSize=True, **paper)["data"])
    assert printed.startswith(b"%PDF") and 1 <= len(re.findall(rb"/Type ?/Page\b", printed)) <= 5
