"""The page: fixed files, which the browser is told to run nothing beside."""

from __future__ import annotations

from pathlib import Path

from adaptface_jax.report.style import LIGHT, STYLE

ASSETS = Path(__file__).parents[1] / "assets" / "serve"

PAGE = (ASSETS / "page.html").read_text(encoding="utf-8")
SCRIPT = (ASSETS / "page.js").read_text(encoding="utf-8")


def style() -> str:
    """That of the reports, and what this page has beside it."""
    return LIGHT + STYLE + (ASSETS / "page.css").read_text(encoding="utf-8")
