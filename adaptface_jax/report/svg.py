"""The elements of every chart: a frame with axes, lines and labels, as inline SVG.

Colors and fonts come from the page's style through classes, so that a chart follows light and dark mode.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

import numpy as np

WIDTH, HEIGHT = 440, 264
LEFT, RIGHT, TOP, BOTTOM = 46, 14, 10, 40


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round values within low..high, about `about` of them."""
    span = high - low
    if not span > 0:
        return [low]
    rough = span / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [index * step for index in range(first, math.floor(high / step + 1e-9) + 1)]


def plain(value: float) -> str:
    """A tick label: 0.25, 400, 10k, 2.5e-4."""
    if value and abs(value) < 1e-3:
        return f"{value:.1e}".replace(".0e", "e").replace("e-0", "e-")
    return f"{value / 1000:g}k" if abs(value) >= 10_000 else f"{value:g}"


def percent(value: float) -> str:
    """A tick label of a fraction."""
    return f"{100 * value:g}%"


class Frame:
    """A chart under construction: data coordinates in, elements out.

    x, y: (low, high) in data.
    """

    def __init__(
        self,
        x: tuple[float, float],
        y: tuple[float, float],
        *,
        height: float = HEIGHT,
        left: float = LEFT,
        right: float = RIGHT,
    ) -> None:
        self.height, self.left, self.right = height, left, right
        self._x, self._y = x, y
        self._parts: list[str] = []

    def x(self, values: np.ndarray | float) -> np.ndarray:
        low, high = self._x
        points = np.asarray(values, np.float64)
        return self.left + (points - low) / ((high - low) or 1) * (WIDTH - self.left - self.right)

    def y(self, values: np.ndarray | float) -> np.ndarray:
        low, high = self._y
        share = (np.asarray(values, np.float64) - low) / ((high - low) or 1)
        return TOP + (1 - share) * (self.height - TOP - BOTTOM)

    def add(self, element: str) -> None:
        self._parts.append(element)

    def text(self, x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> None:
        css = f' class="{kind}"' if kind else ""
        self.add(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{css}>{escape(words)}</text>')

    def axes(
        self, x_title: str, x_text: Callable[[float], str] = plain, y_text: Callable[[float], str] = plain
    ) -> None:
        """Grid lines and tick labels; the title of x below. The figure's title names y."""
        bottom, right = self.height - BOTTOM, WIDTH - self.right
        for value in ticks(*self._y):
            y = float(self.y(value))
            self.add(f'<line class="grid" x1="{self.left:g}" x2="{right:g}" y1="{y:.1f}" y2="{y:.1f}"/>')
            self.text(self.left - 7, y + 4, y_text(value), "tick", "end")
        for value in ticks(*self._x):
            x = float(self.x(value))
            self.add(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{bottom:g}"/>')
            self.text(x, bottom + 16, x_text(value), "tick", "middle")
        self.add(f'<line class="axis" x1="{self.left:g}" x2="{right:g}" y1="{bottom:g}" y2="{bottom:g}"/>')
        self.text((self.left + right) / 2, self.height - 5, x_title, "title", "middle")

    def line(self, x: np.ndarray, y: np.ndarray, kind: str) -> None:
        """A line through the finite points."""
        finite = np.isfinite(x) & np.isfinite(y)
        across, down = self.x(x[finite]), self.y(y[finite])
        self.add(f'<polyline class="line {kind}" points="{points(across, down)}"/>')

    def dots(self, x: np.ndarray, y: np.ndarray, kind: str) -> None:
        """A dot at each finite point."""
        for across, down in zip(self.x(x).tolist(), self.y(y).tolist(), strict=True):
            if math.isfinite(down):
                self.add(f'<circle class="{kind}" cx="{across:.1f}" cy="{down:.1f}" r="3"/>')

    def svg(self, says: str) -> str:
        """The element; `says` is its text alternative."""
        return (
            f'<svg viewBox="0 0 {WIDTH} {self.height:g}" role="img" aria-label="{escape(says)}">'
            + "".join(self._parts)
            + "</svg>"
        )


def points(across: np.ndarray, down: np.ndarray) -> str:
    """The points of a line, without those within a third of a unit of the previous one."""
    kept: list[str] = []
    last = (math.inf, math.inf)
    for i, (x, y) in enumerate(zip(across.tolist(), down.tolist(), strict=True)):
        if abs(x - last[0]) + abs(y - last[1]) > 0.33 or i == len(across) - 1:
            kept.append(f"{x:.1f},{y:.1f}")
            last = (x, y)
    return " ".join(kept)


def figure(
    title: str, svg: str, legend: Sequence[tuple[str, str]] = (), note: str = "", kind: str = "", values: str = ""
) -> str:
    """A chart with its title, its legend of (class, text) and a note below it; kind: the class of the figure.

    values: its table, HTML.
    """
    keys = "".join(f'<li><i class="key {kind}"></i>{escape(words)}</li>' for kind, words in legend)
    parts = [f"<figcaption>{escape(title)}</figcaption>", f'<ul class="legend">{keys}</ul>' if keys else "", svg]
    if note:
        parts.append(f'<p class="note">{escape(note)}</p>')
    parts.append(values)
    css = f' class="{kind}"' if kind else ""
    return f"<figure{css}>{''.join(parts)}</figure>"
