# SPDX-License-Identifier: Apache-2.0
"""One English throughout: phrases that are not used, and American spelling, in code, tests, handbook and examples."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PLACES = ("adaptface_jax", "tests", "configs", "tools", "benchmarks", "docs", "examples")
FILES = ("README.md", "CONTRIBUTING.md", "Makefile", "pyproject.toml")
ENDINGS = {".py", ".md", ".html", ".js", ".css", ".ipynb"}

# A regular expression of whole words, in any case -> what to write instead.
PHRASES = {
    r"go(?:es|ing|ne)? on|went on": "continue, resume",
    r"what it reaches": "its accuracy, its results",
    r"said loudly|aloud|in silence": "reported, silently",
    r"in (?:one|a) sitting": "in one session",
    r"rooms": "slots, space",
    r"sound": "valid, intact",
    r"told apart|tells? (?:\w+ ){0,3}apart": "distinguished",
    r"weighs? nothing": "zero weight",
    r"stands? beside|stood beside": "next to, compared with",
    r"stands? alone": "self-contained",
    r"by heart": "memorize, overfit",
    r"by hand": "manually",
    r"passed over": "skipped",
    r"held against": "compared with",
    r"one after the other": "in sequence",
    r"nobody vouches": "untrusted",
    r"laxer": "looser",
    r"the judge": "the evaluation",
    r"looked at": "checked, inspected",
    r"is said|are said": "is reported",
    r"otherwise than": "different from",
    r"wins over": "takes precedence over",
    r"gives way": "is replaced",
    r"make room": "free some space",
    r"anew": "again",
    r"whole or not at all": "atomically",
    r"in the mean": "on average",
}
BRITISH = (
    r"(?:colour|behaviour|neighbour|favour|honour)\w*|centr(?:e|es|ed|ing)|grey|(?:labell|modell|cancell|travell)(?:ed|ing)|"
    r"artefacts?|catalogues?|licence|whilst|learnt|spelt|spoilt|"
    r"(?:re)?(?:normal|recogn|optim|initial|serial|organ|minim|maxim|summar|general|standard|quant|memor|util)"
    r"is(?:e|ed|es|ing|er|ers|ation)"
)

# Where the British names that version 0.1.0 stored or accepted are still read.
STORED = {
    "adaptface_jax/align/prefer.py",  # --prefer=centre
    "adaptface_jax/training/stored_tree.py",  # the tree `centres`
    "tests/align/test_photographs.py",
}


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    """Relative path -> content of every file that is checked, which this one is not."""
    files = [ROOT / name for name in FILES]
    for place in PLACES:
        files += [file for file in (ROOT / place).rglob("*") if file.suffix in ENDINGS]
    return {
        file.relative_to(ROOT).as_posix(): file.read_text(encoding="utf-8")
        for file in files
        if file.is_file() and file != Path(__file__).resolve()
    }


def found(pattern: str, texts: dict[str, str]) -> list[str]:
    """Every match, as `file:line: words`."""
    words = re.compile(rf"\b(?:{pattern})\b", re.IGNORECASE)
    return [
        f"{name}:{text.count(chr(10), 0, match.start()) + 1}: {match[0]}"
        for name, text in texts.items()
        for match in words.finditer(text)
    ]


@pytest.mark.parametrize(("phrase", "instead"), PHRASES.items())
def test_a_phrase_is_not_used(phrase, instead, texts):
    assert not found(phrase, texts), f"write: {instead}"


def test_spelling_is_american(texts):
    assert not found(BRITISH, {name: text for name, text in texts.items() if name not in STORED})
