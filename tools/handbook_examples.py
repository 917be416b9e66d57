"""An extension of griffe, which mkdocs.yml names: the doctests in docstrings are shown as code."""

from __future__ import annotations

import re
from typing import Any

import griffe

EXAMPLE = re.compile(r"^>>> .*(?:\n.+)*", re.MULTILINE)


class FencedExamples(griffe.Extension):
    """Puts each doctest, up to the next empty line, between fences."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """griffe calls this for everything that it has read."""
        if obj.docstring:
            obj.docstring.value = EXAMPLE.sub(lambda found: f"```pycon\n{found[0]}\n```", obj.docstring.value)
