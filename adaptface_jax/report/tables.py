"""Tables as HTML, and how figures are written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

NONE = "n/a"


class Markup(str):
    """A cell that is HTML already."""

    __slots__ = ()


def table(
    caption: str, titles: Sequence[str], rows: Iterable[tuple[str, Sequence[str]]], kind: str = "", left: int = 1
) -> str:
    """A table that scrolls within its own box where the screen is narrow.

    rows: (class of the row or "", cells); the first `left` columns are texts, the others numbers.
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


def points(change: float | None) -> str:
    """A change of a fraction in points, coloured by its sign."""
    if change is None:
        return NONE
    kind = "up" if change > 0 else "down" if change < 0 else "quiet"
    return Markup(f'<span class="{kind}">{signed(change)}</span>')


def signed(change: float) -> str:
    """ "+1.50", with a true minus sign."""
    return f"{100 * change:+.2f}".replace("-", "\N{MINUS SIGN}")


def between(value: float | None, interval: Sequence[float] | None, text: str) -> str:
    """A figure with its 95% interval (two fractions) below it, where there is one."""
    if value is None or not interval:
        return text
    low, high = interval
    return Markup(f"{escape(text)}<small>{100 * low:.1f} to {100 * high:.1f}</small>")


def area_between(value: float | None, interval: Sequence[float] | None) -> str:
    """An AUC with its 95% interval below it, where there is one."""
    if value is None or not interval:
        return area(value)
    low, high = interval
    return Markup(f"{area(value)}<small>{low:.3f} to {high:.3f}</small>")


def counted(pairs: int, people: str) -> str:
    """Pairs, and below them the people that their figures rest on."""
    return Markup(f"{pairs:,}<small>{escape(people)}</small>") if people else f"{pairs:,}"


def area_change(change: float, interval: Sequence[float]) -> str:
    """A difference of AUC with its interval below it."""
    minus = "\N{MINUS SIGN}"
    low, high = (f"{end:+.4f}".replace("-", minus) for end in interval)
    return Markup(f"{change:+.4f}".replace("-", minus) + f"<small>{low} to {high}</small>")


def p_value(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"
