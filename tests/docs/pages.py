"""The pages of the handbook and README.md, taken apart: their blocks of code, their headings, their links."""

from __future__ import annotations

import importlib.util
import re
import textwrap
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

_spec = importlib.util.spec_from_file_location("handbook", ROOT / "tools" / "handbook.py")
assert _spec is not None and _spec.loader is not None
handbook = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(handbook)

FENCE = re.compile(
    r"^(?P<indent> *)(?P<fence>```+) *(?P<language>[\w-]*)(?P<rest>[^\n`]*)\n(?P<text>.*?)^(?P=indent)(?P=fence) *$",
    re.MULTILINE | re.DOTALL,
)
NEEDS = re.compile(r"<!-- needs: (.+?) -->\s*\Z")
TITLE = re.compile(r'title="([^"]+)"')


class Block(NamedTuple):
    """A fenced block. needs: what it takes that a test has not, as the comment before it says; empty where it runs.

    title: the name of the file that it is, empty where it is none.
    """

    page: Path
    line: int
    language: str
    title: str
    needs: str
    text: str

    @property
    def place(self) -> str:
        return f"{name_of(self.page)}:{self.line}"


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page as it is written, without what is generated."""
    text = page.read_text(encoding="utf-8")
    result = []
    for found in FENCE.finditer(text):
        before = text[: found.start()]
        needs, title = NEEDS.search(before), TITLE.search(found["rest"])
        result.append(
            Block(
                page,
                before.count("\n") + 1,
                found["language"],
                title[1] if title else "",
                needs[1] if needs else "",
                textwrap.dedent(found["text"]),
            )
        )
    return result


def prose(page: Path) -> str:
    """A page as readers see it, with what is generated, without its blocks of code."""
    return FENCE.sub("", handbook.filled(page.read_text(encoding="utf-8")))


def anchors(page: Path) -> set[str]:
    """What `page.md#...` may name: the headings, as MkDocs and GitHub write them, and the ids that are given."""
    text = prose(page)
    found = set(re.findall(r"\{[^}\n]*#([\w-]+)[^}\n]*\}|id=\"([\w-]+)\"", text))
    result = {one or other for one, other in found}
    for heading in re.findall(r"^#+ +(.+?)\s*(?:\{.*\})?$", text, re.MULTILINE):
        words = re.sub(r"[^\w\s-]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)|[`*]", r"\1", heading)).strip().lower()
        result.add(re.sub(r"[-\s]+", "-", words))
    return result


def links(page: Path) -> list[str]:
    """The targets of a page's links and pictures."""
    text = re.sub(r"`[^`\n]*`", "", prose(page))
    return re.findall(r"\]\(([^)\s]+)[^)]*\)", text) + re.findall(r"(?:src|srcset|href)=\"([^\"]+)\"", text)
