"""A table to read on a terminal as it is, or as Markdown."""

from __future__ import annotations

from collections.abc import Sequence


def text_table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns of equal width; the first is text, the others are numbers."""
    cells = [[cell.replace("|", "\\|") for cell in row] for row in (titles, *rows)]
    widths = [max(3, *(len(cell) for cell in column)) for column in zip(*cells, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines = []
    for row in (cells[0], rule, *cells[1:]):
        padded = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append("| " + " | ".join([row[0].ljust(widths[0]), *padded[1:]]) + " |")
    return "\n".join(lines)
