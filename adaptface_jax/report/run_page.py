"""`results.html`: one run on one page."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from adaptface_jax.checks.finding import MARKS, Section, verdict
from adaptface_jax.checks.run.record_checks import check_records
from adaptface_jax.checks.run.records import AnyRun, FaceRun
from adaptface_jax.report import recognition_page
from adaptface_jax.report.classification import page as classification_page
from adaptface_jax.report.next_steps import next_steps
from adaptface_jax.report.style import document


def run_page(run: AnyRun, home: str = "") -> str:
    """The complete document. home: the link to a page that compares several runs, or "" for none."""
    found = list(check_records(run))
    name = run.workdir.resolve().name
    if isinstance(run, FaceRun):
        kind, over, sections = "face verification", recognition_page.over(run), recognition_page.sections(run, found)
    else:
        kind, over = "image classification", classification_page.over(run)
        sections = classification_page.sections(run, found)
    return document(f"{name}: {kind}", [*_head(run, name, over, found, home), *sections, next_steps(run)])


def _head(run: AnyRun, name: str, over: str, found: list[Section], home: str) -> Iterator[str]:
    worst, line = verdict(found)
    back = f'<a href="{escape(home)}">All runs</a> · ' if home else ""
    yield f'<p class="over">{back}{escape(over)}</p>'
    yield f"<h1>{escape(name)}</h1>"
    state = f'<span class="chip{"" if run.finished else " warning"}">{escape(run.state)}</span>'
    yield f'<p>{state} <a class="chip {worst}" href="#findings">{MARKS[worst]} {escape(line)}</a></p>'
