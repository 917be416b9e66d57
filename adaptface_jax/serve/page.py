"""The page: fixed files; the browser is told to run nothing else."""

from __future__ import annotations

from pathlib import Path

from adaptface_jax.report.style import LIGHT, STYLE

ASSETS = Path(__file__).parents[1] / "assets" / "serve"

PAGE = (ASSETS / "page.html").read_text(encoding="utf-8")
SCRIPT = (ASSETS / "page.js").read_text(encoding="utf-8")


def style() -> str:
    """The style of the reports, plus this page's own."""
    return LIGHT + STYLE + (ASSETS / "page.css").read_text(encoding="utf-8")
