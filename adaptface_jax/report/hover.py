"""The values of a chart: shown under the pointer by CSS only, and as a collapsed table below the chart."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from html import escape

from adaptface_jax.core.text import shortened
from adaptface_jax.report import svg
from adaptface_jax.report.tables import NONE, table

STOPS = 40  # approximate number of positions in a chart with values
_LETTER, _LINE, _ROOM = 6.9, 15, 8
_NAME = 24  # characters of a name
_MOST = 12  # values at one position; more would not fit into a chart


@dataclasses.dataclass(frozen=True)
class Value:
    """down: its y coordinate. paint: the color of its line."""

    name: str
    text: str
    down: float
    paint: str


@dataclasses.dataclass(frozen=True)
class Stop:
    """A position in a chart. across: its x coordinate. title: its label, such as a step."""

    across: float
    title: str
    values: Sequence[Value]


def strips(stops: Sequence[Stop], left: float, right: float, bottom: float) -> str:
    """Elements of a chart, each over the area closest to a stop: under the pointer it shows the stop's values.

    left, right: the ends of the chart, which the strips divide. bottom: of its axes.
    """
    middles = [(one.across + other.across) / 2 for one, other in itertools.pairwise(stops)]
    starts, ends = [left, *middles], [*middles, right]
    return "".join(
        f'<g class="stop"><rect class="strip" x="{start:.1f}" y="{svg.TOP}" width="{max(end - start, 0):.1f}" '
        f'height="{bottom - svg.TOP:g}"/><g>{_shown(stop, bottom)}</g></g>'
        for stop, start, end in zip(stops, starts, ends, strict=True)
    )


def _shown(stop: Stop, bottom: float) -> str:
    values = sorted(stop.values, key=lambda value: value.down)
    parts = [f'<line class="axis" x1="{stop.across:.1f}" x2="{stop.across:.1f}" y1="{svg.TOP}" y2="{bottom:g}"/>']
    parts += [f'<circle class="dot {v.paint}" cx="{stop.across:.1f}" cy="{v.down:.1f}" r="3.5"/>' for v in values]
    said = [(value.paint, f"{shortened(value.name, _NAME)} {value.text}") for value in values[:_MOST]]
    if len(values) > _MOST:
        said.append(("base", f"and {len(values) - _MOST} more"))
    width = _LETTER * max(len(stop.title), *(len(text) + 2 for _, text in said)) + 2 * _ROOM
    beside = stop.across + _ROOM if stop.across < svg.WIDTH / 2 else stop.across - _ROOM - width
    x = min(max(beside, 0), svg.WIDTH - width)
    height = _LINE * (len(said) + 1) + _ROOM
    parts.append(f'<rect class="tip" x="{x:.1f}" y="{svg.TOP}" width="{width:.1f}" height="{height}" rx="4"/>')
    inside = x + _ROOM
    lines = [f'<tspan class="strong" x="{inside:.1f}" dy="{_LINE}">{escape(stop.title)}</tspan>']
    lines += [
        f'<tspan class="{paint}" x="{inside:.1f}" dy="{_LINE}">\N{BLACK CIRCLE}</tspan><tspan> {escape(text)}</tspan>'
        for paint, text in said
    ]
    return "".join([*parts, f'<text y="{svg.TOP}">{"".join(lines)}</text>'])


def values_table(caption: str, across: str, stops: Sequence[Stop]) -> str:
    """The same as a collapsed table, for use without a pointer. across: what the stops are. HTML."""
    names = list(dict.fromkeys(value.name for stop in stops for value in stop.values))
    rows = []
    for stop in stops:
        known = {value.name: value.text for value in stop.values}
        rows.append(("", [stop.title, *(known.get(name, NONE) for name in names)]))
    return f'<details class="values"><summary>Values</summary>{table(caption, [across, *names], rows)}</details>'
