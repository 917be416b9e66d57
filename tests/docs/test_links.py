"""Every link of README.md and the handbook leads somewhere; what is generated on the pages is what the code has."""

from __future__ import annotations

import importlib
import re
from collections import Counter

import pytest

from adaptface_jax.config.classification import ClassificationConfig
from adaptface_jax.config.recipes import names
from adaptface_jax.config.schema import Config, sections
from tests.docs.pages import PAGES, ROOT, anchors, blocks, handbook, links, name_of, prose
from tests.test_main import COMMANDS

OPENS_INDENTED = re.compile(r"\s*(?:[-*+] |\d+\. |!!! |\?\?\?\+? |=== )")  # a list, an admonition, a tab


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_somewhere(page):
    for link in links(page):
        if re.match(r"https?://|mailto:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{name_of(page)}: {link} is not there"
        if page.parent.name == "docs":
            assert (ROOT / "docs") in target.parents, f"{name_of(page)}: {link} is not part of the site"
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), f"{name_of(page)}: {link}: {name_of(target)} has no such heading"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_block_of_code_is_fenced_and_says_its_language(page):
    """Indented text is code, too, which no test would find."""
    assert not [block.place for block in blocks(page) if not block.language]
    above = ""
    for line in prose(page).splitlines():
        if line.startswith("    "):
            assert OPENS_INDENTED.match(above), f"{name_of(page)}: {line}"
        elif line.strip():
            above = line


def test_the_navigation_lists_every_page():
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    listed = re.findall(r"^ +- [^#\n]+: (\S+\.md)$", text, re.MULTILINE)
    assert sorted(listed) == sorted(
        page.relative_to(ROOT / "docs").as_posix() for page in PAGES if page.parent.name == "docs"
    )


def test_the_settings_page_has_every_setting():
    expected = Counter(
        f"{section}.{name}"
        for schema in (Config, ClassificationConfig)
        for section, kind in sections(schema).items()
        for name in kind.__dataclass_fields__
    )
    page = handbook.filled("<!-- generated: settings -->")
    assert Counter(re.findall(r"^\| `(\w+\.\w+)` \|", page, re.MULTILINE)) == expected
    assert "| `adapter.kind` | `lora` | `lora`, `dalora`, `none`, `full` | none is a linear probe, full is" in page
    assert "| `adapter.dropout` | `0.0` | float from 0 to 0.99 |" in page
    assert "| `train.steps` | `none` | int or none from 1 |" in page


def test_the_commands_page_has_every_command():
    page = handbook.filled("<!-- generated: commands -->")
    assert re.findall(r"^## (\w+)$", page, re.MULTILINE) == COMMANDS
    assert page.count("usage: adaptface ") == len(COMMANDS)


def test_the_list_of_recipes_has_every_recipe():
    page = handbook.filled("<!-- generated: recipes -->")
    assert re.findall(r"^\| `(\w+)` \| \S", page, re.MULTILINE) == names()


def test_every_name_on_the_page_of_the_interface_is_there():
    for name in re.findall(r"^::: (\S+)", (ROOT / "docs" / "api.md").read_text(encoding="utf-8"), re.MULTILINE):
        module, _, attribute = name.rpartition(".")
        assert hasattr(importlib.import_module(module), attribute), name
