"""A matrix of conditions by conditions as a chart: values as text, gains as color."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from html import escape

from adaptface_jax.core.text import shortened
from adaptface_jax.report import svg

_NAME = 14  # characters of a row or column label
_LETTER, _LINE = 6.6, 15
_WIDE = 78  # from this width on the small lines fit into a field
_DEEPEST = 0.45  # opacity: text on it stays readable, light and dark


@dataclasses.dataclass(frozen=True)
class Field:
    """A field of the matrix. value, gain: as text ("93.2%", "+2.0"), gain "" if it is unknown.

    change: the gain as a fraction, for the color; None if not significant: no color. small: more lines.
    """

    value: str
    gain: str = ""
    change: float | None = None
    small: Sequence[str] = ()

    @property
    def words(self) -> str:
        return " ".join(filter(None, (self.value, self.gain and f"({self.gain})", *self.small)))

    @property
    def paint(self) -> str:
        return "none" if not self.change else "up" if self.change > 0 else "down"


def heat_map(title: str, names: Sequence[str], fields: Mapping[tuple[str, str], Field], note: str = "") -> str:
    """The upper triangle, a row and a column per name. fields: by row and column; others are empty. HTML."""
    texts = [shortened(name, _NAME) for name in names]
    left, top = 18 + _LETTER * max(map(len, texts)), svg.TOP + 18
    width = (svg.WIDTH - left) / len(names)
    small = max(len(field.small) for field in fields.values()) if width >= _WIDE else 0
    height = _LINE * (2 + small) + 14
    frame = svg.Frame((0, 1), (0, 1), height=top + height * len(names) + 2)
    for place, text in enumerate(texts):
        frame.text(left + width * (place + 0.5), top - 8, shortened(text, int(width / _LETTER)), "tick", "middle")
        frame.text(left - 12, top + height * (place + 0.5) + 4, text, "", "end")
    deepest = max(abs(field.change or 0.0) for field in fields.values())
    for (row, column), field in fields.items():
        x, y = left + width * names.index(column), top + height * names.index(row)
        box = f'x="{x + 1.5:.1f}" y="{y + 1.5:.1f}" width="{width - 3:.1f}" height="{height - 3}" rx="4"'
        opacity = _DEEPEST * abs(field.change) / deepest if field.change else 1.0
        said = f"<title>{escape(f'{row} with {column}: {field.words}')}</title>"
        frame.add(f'<rect class="field {field.paint}" fill-opacity="{opacity:.2f}" {box}>{said}</rect>')
        lines = [(field.value, "strong"), (field.gain, ""), *[(text, "") for text in field.small[:small]]]
        lines = [(text, kind) for text, kind in lines if text]
        first = y + height / 2 + 4 - _LINE * (len(lines) - 1) / 2
        for number, (text, kind) in enumerate(lines):
            frame.text(x + width / 2, first + _LINE * number, text, kind, "middle")
    says = "; ".join(f"{row} with {column} {field.words}" for (row, column), field in fields.items())
    return svg.figure(title, frame.svg(f"{title}: {says}"), note=note, kind="matrix small")
