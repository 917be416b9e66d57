"""Tables as HTML, and number formats."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from adaptface_jax.core.text import signed
from adaptface_jax.evaluation.statistics.verdict import Outcome

NONE = "n/a"
PAINTS = {Outcome.RAISED: "up", Outcome.LOWERED: "down", Outcome.MIXED: "mixed"}  # classes of the page's style


class Markup(str):
    """A cell that is HTML already."""

    __slots__ = ()


def table(
    caption: str, titles: Sequence[str], rows: Iterable[tuple[str, Sequence[str]]], kind: str = "", left: int = 1
) -> str:
    """A table that scrolls within its own box on a narrow screen.

    rows: (class of the row or "", cells); the first `left` columns are text, the others numbers.
    """
    side = ' class="left"'
    head = "".join(f'<th scope="col"{side if i < left else ""}>{_cell(title)}</th>' for i, title in enumerate(titles))
    lines = []
    for group, cells in rows:
        css = f' class="{group}"' if group else ""
        first, *others = cells
        rest = "".join(f"<td{side if i < left else ''}>{_cell(cell)}</td>" for i, cell in enumerate(others, 1))
        lines.append(f'<tr{css}><th scope="row">{_cell(first)}</th>{rest}</tr>')
    css = f' class="{kind}"' if kind else ""
    named = f"<caption>{escape(caption)}</caption>" if caption else ""
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{escape(caption or "table")}"><table{css}>{named}'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def _cell(text: str) -> str:
    return text if isinstance(text, Markup) else escape(text)


def percent(value: float | None) -> str:
    return NONE if value is None else f"{100 * value:.2f}%"


def area(value: float | None) -> str:
    return NONE if value is None else f"{value:.4f}"


def points(change: float | None, outcome: Outcome, below: str = "") -> str:
    """A change of a fraction in points, colored only if significant; below: small text."""
    if change is None:
        return NONE
    return colored(signed(change), outcome, below)


def colored(text: str, outcome: Outcome, below: str = "") -> str:
    """A change in the color of its verdict."""
    small = f"<small>{escape(below)}</small>" if below else ""
    return Markup(f'<span class="{PAINTS.get(outcome, "quiet")}">{escape(text)}</span>{small}')


def between(value: float | None, interval: Sequence[float] | None, text: str) -> str:
    """A value with its 95% interval (two fractions) below it, if there is one."""
    if value is None or not interval:
        return text
    low, high = interval
    return Markup(f"{escape(text)}<small>{100 * low:.1f} to {100 * high:.1f}</small>")


def area_between(value: float | None, interval: Sequence[float] | None) -> str:
    """An AUC with its 95% interval below it, if there is one."""
    if value is None or not interval:
        return area(value)
    low, high = interval
    return Markup(f"{area(value)}<small>{low:.3f} to {high:.3f}</small>")


def counted(pairs: int, people: str) -> str:
    """The number of pairs, and below it the number of people."""
    return Markup(f"{pairs:,}<small>{escape(people)}</small>") if people else f"{pairs:,}"


def p_value(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"
