"""Every message that the handbook quotes is one that the program says."""

from __future__ import annotations

import ast
import re

import pytest

from tests.docs.pages import ROOT

PAGE = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
QUOTED = [
    message
    for row in re.findall(r"^\| (`.+?`(?:, `.+?`)*) \|", PAGE.partition("## Messages")[2], re.MULTILINE)
    for message in re.findall(r"`(.+?)`", row)
]
STATUSES = {"75": "STOPPED = 75", "130": "INTERRUPTED = 130"}


@pytest.fixture(scope="module")
def said() -> list[str]:
    """Every text in the code; what an f-string fills in is left out."""
    result = []
    for file in (ROOT / "adaptface_jax").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                result.append(node.value)
            elif isinstance(node, ast.JoinedStr):
                parts = (part.value if isinstance(part, ast.Constant) else "\0" for part in node.values)
                result.append("".join(map(str, parts)))
    return result


def stand_in(text: str, parts: list[str]) -> bool:
    """Whether the parts stand in the text in this order."""
    place = 0
    for part in parts:
        found = text.find(part, place)
        if found < 0:
            return False
        place = found + len(part)
    return True


def test_the_page_quotes_twenty_messages_at_least():
    assert len(QUOTED) >= 20


@pytest.mark.parametrize("message", QUOTED)
def test_a_message_on_the_page_is_one_of_the_program(message, said):
    parts = [part.strip() for part in message.split("…")]
    assert any(stand_in(text, parts) for text in said), f"nothing says {message}"


@pytest.mark.parametrize(("status", "line"), STATUSES.items())
def test_the_exit_statuses_are_those_of_the_program(status, line):
    assert f"| {status} |" in PAGE
    assert line in (ROOT / "adaptface_jax" / "cli" / "command.py").read_text(encoding="utf-8")
