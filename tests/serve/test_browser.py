"""The page in a real browser: two photographs dropped become a decision, one is found; wide, narrow, light, dark."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator

import pytest

from tests.browser import Page, browser, executable
from tests.children import PATIENCE

# The extra `serve`, and its client.
pytest.importorskip("starlette")
pytest.importorskip("httpx")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(executable() is None, reason="no Chromium is installed"),
]

# Drop a file onto the zone of an input, as a user would.
DROP = """
(() => {{
  const bytes = Uint8Array.from(atob({data}), character => character.charCodeAt(0));
  const carried = new DataTransfer();
  carried.items.add(new File([bytes], {name}, {{type: "image/png"}}));
  const zone = document.getElementById({place}).closest(".zone");
  zone.dispatchEvent(new DragEvent("dragover", {{dataTransfer: carried, bubbles: true, cancelable: true}}));
  zone.dispatchEvent(new DragEvent("drop", {{dataTransfer: carried, bubbles: true, cancelable: true}}));
}})()
"""
STICKS_OUT = """
[...document.querySelectorAll('body *')].filter(e =>
  e.getBoundingClientRect().right > document.documentElement.clientWidth + 0.5).map(e => e.outerHTML.slice(0, 80))
"""


@pytest.fixture(scope="module")
def address(answers) -> Iterator[str]:
    """Of a server in a thread of this process."""
    from adaptface_jax.serve import server
    from adaptface_jax.serve.app import application

    with server.listening("127.0.0.1", 0) as listener:
        serving = server.Server(application(answers))
        thread = threading.Thread(target=serving.run, args=([listener],))
        thread.start()
        yield server.address(listener)
        serving.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def tab() -> Iterator[Page]:
    with browser() as page:
        yield page


def drop(tab: Page, place: str, data: bytes, name: str = "a.png") -> None:
    words = {"data": base64.b64encode(data).decode(), "name": name, "place": place}
    tab.value(DROP.format(**{key: json.dumps(value) for key, value in words.items()}))


def shown(tab: Page, place: str, what: str) -> str:
    """The text of a part of the page, once something matches `what`."""
    limit = time.monotonic() + PATIENCE
    while not tab.value(f"!!document.querySelector('#{place} {what}')"):
        assert time.monotonic() < limit
        time.sleep(0.02)
    return tab.value(f"document.getElementById('{place}').innerText")


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_photographs_that_are_dropped_are_compared_and_searched(tab, address, files, dark, width):
    tab.show(address, width, dark)
    shown(tab, "far", "option")
    drop(tab, "first", files[0])
    drop(
        tab,
        "second",
        files[0],
        "a name that is so long that it would not fit into any line" + 9 * "-------------------",
    )
    said = shown(tab, "decision", ".answer")
    assert "They pass as the same person" in said and "1 stranger in 100 passes" in said
    assert "similarity 1.000" in said and "used as an aligned crop" in said
    assert tab.value("[...document.querySelectorAll('#decision .face')].length") == 2
    gates = tab.value("[...document.querySelectorAll('#decision .bars span')].map(e => e.textContent)")
    assert gates == ["pose", "age", "light"] * 2
    drop(tab, "image", files[1])
    found = shown(tab, "found", ".answer")
    assert "bert is the most similar, and passes" in found and "a stranger matches somebody" in found
    assert tab.complaints == []
    paths = {place.removeprefix(address) for place in tab.requests if not place.startswith(("data:", "blob:"))}
    assert paths == {"", "page.css", "page.js", "about", "verify", "search"}
    assert tab.value("document.documentElement.scrollWidth") == width
    assert tab.value(STICKS_OUT) == []
    paper = tab.value("getComputedStyle(document.body).backgroundColor")
    assert paper == ("rgb(21, 24, 27)" if dark else "rgb(251, 251, 249)")


def test_another_risk_decides_again_and_a_bad_file_is_reported(tab, address, files):
    tab.show(address, 800)
    shown(tab, "far", "option")
    drop(tab, "first", files[0])
    drop(tab, "second", files[1])
    assert "They do not pass" in shown(tab, "decision", ".answer")
    tab.value("const far = document.getElementById('far'); far.value = '1e-1'; far.dispatchEvent(new Event('change'))")
    assert "They pass, but so does 1 stranger in 10" in shown(tab, "decision", ".answer")
    drop(tab, "second", b"this is no picture")
    assert shown(tab, "decision", ".problem") == (
        "Second: 18 bytes of unknown format; expected JPEG, PNG, WEBP, GIF, TIFF, AVIF or HEIC."
    )
    assert not [text for text in tab.complaints if "415" not in text]
