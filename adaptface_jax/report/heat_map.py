"""A matrix of conditions by conditions as a chart: numbers inside, the colour is the gain."""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Mapping, Sequence

from adaptface_jax.core.text import shortened
from adaptface_jax.report import svg

_NAME = 14  # characters of a name beside a row or above a column
_LINE = 15
_WIDE = 74  # from this width on a field has room for its last lines
_DEEPEST = 0.5  # opacity: the texts on it stay readable, light and dark


@dataclasses.dataclass(frozen=True)
class Field:
    """A field of the matrix. value, gain: as they are written ("93.2%", "+2.0"), gain "" where it is unknown.

    change: the gain as a fraction, for the colour; None: no colour. small: further lines.
    """

    value: str
    gain: str = ""
    change: float | None = None
    small: Sequence[str] = ()

    @property
    def words(self) -> str:
        return " ".join(filter(None, (self.value, self.gain and f"({self.gain})", *self.small)))


def heat_map(title: str, names: Sequence[str], fields: Mapping[tuple[str, str], Field], note: str = "") -> str:
    """The upper triangle, a row and a column a name. fields: by row and column; others stay empty. HTML."""
    texts = [shortened(name, _NAME) for name in names]
    left = 18 + 6.6 * max(map(len, texts))
    width = (svg.WIDTH - left) / len(names)
    lines = 2 + (max((len(field.small) for field in fields.values()), default=0) if width >= _WIDE else 0)
    height, top = _LINE * lines + 14, svg.TOP + 18
    frame = svg.Frame((0, len(names)), (len(names), 0), left=left, right=0, height=top + height * len(names) + 2)
    deepest = max((abs(field.change) for field in fields.values() if field.change is not None), default=0.0)
    for place, (name, text) in enumerate(zip(names, texts, strict=True)):
        said = f"<title>{html.escape(name)}</title>"
        across, down = left + width * (place + 0.5), top + height * (place + 0.5) + 4
        frame.add(f'<text class="tick" x="{across:.1f}" y="{top - 8}" text-anchor="middle">{said}{html.escape(text)}</text>')
        frame.add(f'<text x="{left - 12:.1f}" y="{down:.1f}" text-anchor="end">{said}{html.escape(text)}</text>')
    for (first, second), field in fields.items():
        x, y = left + width * names.index(second), top + height * names.index(first)
        kind, opacity = "none", 1.0
        if field.change is not None:
            kind = "up" if field.change > 0 else "down" if field.change < 0 else "none"
            opacity = _DEEPEST * abs(field.change) / deepest if field.change else 1.0
        said = html.escape(f"{first} with {second}: {field.words}")
        box = f'x="{x + 1.5:.1f}" y="{y + 1.5:.1f}" width="{width - 3:.1f}" height="{height - 3}" rx="4"'
        frame.add(f'<rect class="field none" {box}/>')
        frame.add(f'<rect class="field {kind}" fill-opacity="{opacity:.3f}" {box}><title>{said}</title></rect>')
        shown = [(field.value, "strong"), (field.gain, ""), *((text, "tick") for text in field.small)][:lines]
        start = y + height / 2 - _LINE * (len(shown) - 1) / 2 + 4
        for number, (text, css) in enumerate(shown):
            if text:
                frame.text(x + width / 2, start + _LINE * number, text, css, "middle")
    says = "; ".join(f"{first} with {second} {field.words}" for (first, second), field in fields.items())
    return svg.figure(title, frame.svg(f"{title}: {says}"), note=note)

