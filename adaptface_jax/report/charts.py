"""The charts of a report, each a complete `<figure>`."""

from __future__ import annotations

import dataclasses
import html
import math
from collections.abc import Callable, Iterator, Mapping, Sequence, Set

import numpy as np

from adaptface_jax.core.text import shortened, signed
from adaptface_jax.evaluation.plots import paint
from adaptface_jax.evaluation.statistics.verdict import Outcome
from adaptface_jax.report import svg
from adaptface_jax.report.hover import STOPS, Stop, Value, strips, values_table
from adaptface_jax.report.tables import PAINTS

ROW = 34
NAME = 20  # characters of a row label
LETTER = 7.5  # their width on a narrow screen, where text is larger


@dataclasses.dataclass(frozen=True)
class Gain:
    """Accuracy before and after on one set of pairs, as fractions; 95% intervals (low, high) if known.

    outcome: the verdict on their difference. strong: whether the row is of a whole benchmark.
    """

    name: str
    before: float
    after: float
    strong: bool = False
    before_interval: Sequence[float] | None = None
    after_interval: Sequence[float] | None = None
    outcome: Outcome = Outcome.UNTESTED


@dataclasses.dataclass(frozen=True)
class Line:
    """One line of a chart: its name in the legend, x and y [N], and its color.

    marked: a dot at each value, without smoothing.
    """

    name: str
    x: np.ndarray
    y: np.ndarray
    paint: str
    dashed: bool = False
    marked: bool = False


def gains(title: str, rows: Sequence[Gain], before: str, after: str) -> str:
    """A ring at the value before, a dot at the value after, and the gain in points at the right of each row."""
    values = [value for row in rows for value in (row.before, row.after)]
    values += [v for row in rows for pair in (row.before_interval, row.after_interval) if pair for v in pair]
    span = max(max(values) - min(values), 0.05)
    low, high = max(0.0, min(values) - 0.06 * span), min(1.0, max(values) + 0.06 * span)
    frame = _rows([row.name for row in rows], low, high, right=62, strong={row.name for row in rows if row.strong})
    high_row = row_height(len(rows))
    for i, row in enumerate(rows):
        y = svg.TOP + high_row * (i + 0.5)
        start, end = float(frame.x(row.before)), float(frame.x(row.after))
        change = row.after - row.before
        for interval, kind in ((row.before_interval, "base"), (row.after_interval, "main")):
            if interval:
                a, b = frame.x(np.asarray(interval))
                frame.add(
                    f'<rect class="band {kind}" x="{a:.1f}" width="{b - a:.1f}" y="{y - 11:g}" height="22" rx="5"/>'
                )
        frame.add(f'<line class="link main" x1="{start:.1f}" x2="{end:.1f}" y1="{y:g}" y2="{y:g}"/>')
        frame.add(
            f'<circle class="ring base" cx="{start:.1f}" cy="{y:g}" r="{6 if row.strong else 5}">'
            f"<title>{100 * row.before:.2f}%</title></circle>"
        )
        frame.add(
            f'<circle class="dot main" cx="{end:.1f}" cy="{y:g}" r="{7 if row.strong else 5.5}">'
            f"<title>{100 * row.after:.2f}%</title></circle>"
        )
        kind = f"{PAINTS[row.outcome]} strong" if row.outcome.shown else "tick"
        frame.text(svg.WIDTH - 2, y + 4, signed(change), kind, "end")
    says = "; ".join(f"{row.name} {100 * row.before:.2f}% to {100 * row.after:.2f}%" for row in rows)
    drawn = frame.svg(f"Accuracy, {before} to {after}: {says}")
    banded = any(row.after_interval for row in rows)
    note = "The change at the right is in points, gray if not significant."
    note += " Shaded: 95% intervals." if banded else ""
    return svg.figure(title, drawn, [("base ring", before), ("main", after)], note)


def curves(
    title: str,
    lines: Sequence[Line],
    *,
    as_percent: bool = False,
    smooth: bool = False,
    from_zero: bool = False,
    least: float = 0.0,
) -> str:
    """Lines over the step. smooth: a running mean over the values themselves, which are drawn faintly.

    least: the minimal range of y, the width of the interval of one of the values.
    """
    lines = [line for line in lines if np.isfinite(line.y).any()]
    if not lines:
        return ""
    known = np.concatenate([line.y[np.isfinite(line.y)] for line in lines])
    steps = np.concatenate([line.x for line in lines])
    low, high = float(known.min()), float(known.max())
    room = 0.06 * (high - low) or max(0.02 * abs(high), 1e-6)
    low, high = (0.0 if from_zero else low - room), high + room
    if as_percent:
        low, high = wide_enough(low, high, least)
    frame = svg.Frame((0.0, float(max(steps.max(), 1))), (low, high))
    text = (lambda value: svg.percent(round(value, 6))) if as_percent else svg.plain
    frame.axes("step", y_text=text)
    for line in lines:
        kind = f"{line.paint} dashed" if line.dashed else line.paint
        if is_smoothed(line, smooth):
            frame.line(line.x, line.y, f"{kind} raw")
            frame.line(line.x, running_mean(line.y), kind)
        else:
            frame.line(line.x, line.y, kind)
        if line.marked:
            frame.dots(line.x, line.y, f"dot {line.paint}")
    stops = list(stops_of(lines, frame, smooth, "{:.2%}".format if as_percent else "{:.4g}".format))
    frame.add(strips(stops, frame.left, svg.WIDTH - frame.right, frame.height - svg.BOTTOM))
    finite = {line.name: line.y[np.isfinite(line.y)] for line in lines}
    said = ", ".join(f"{name} from {y[0]:.4g} to {y[-1]:.4g}" for name, y in finite.items())
    legend = [(f"{line.paint} dashed" if line.dashed else line.paint, line.name) for line in lines]
    drawn = frame.svg(f"{title} over the step: {said}")
    return svg.figure(title, drawn, legend if len(lines) > 1 else (), values=values_table(title, "step", stops))


def is_smoothed(line: Line, smooth: bool) -> bool:
    return smooth and not line.marked and len(line.y) > 12


def stops_of(lines: Sequence[Line], frame: svg.Frame, smooth: bool, written: Callable[[float], str]) -> Iterator[Stop]:
    """At about STOPS of the steps the value of each line, and its running mean if drawn, from the nearest logged step,
    unless another stop is closer to it."""
    steps = np.unique(np.concatenate([line.x for line in lines]))
    steps = steps[np.unique(np.linspace(0, len(steps) - 1, min(STOPS, len(steps))).round().astype(int))]
    means = [running_mean(line.y) if is_smoothed(line, smooth) else None for line in lines]
    for step in steps.tolist():
        values, exact = [], True
        for line, mean in zip(lines, means, strict=True):
            place = int(np.abs(line.x - step).argmin())
            logged, value = int(line.x[place]), float(line.y[place])
            if not math.isfinite(value) or steps[np.abs(steps - logged).argmin()] != step:
                continue
            exact &= logged == step
            drawn = value if mean is None else float(mean[place])
            text = written(value) + ("" if mean is None else f", mean {written(drawn)}")
            values.append(Value(line.name, text, float(frame.y(drawn)), line.paint))
        if values:
            yield Stop(float(frame.x(step)), f"{'' if exact else 'about '}step {step:,}", values)


def wide_enough(low: float, high: float, least: float) -> tuple[float, float]:
    """Within 0..1, widened around its middle to `least`, so that differences within chance look small."""
    missing = max(0.0, least - (high - low)) / 2
    low, high = max(0.0, low - missing), min(1.0, high + missing)
    return max(0.0, min(low, high - least)), min(1.0, max(high, low + least))


def dots(
    title: str,
    rows: Mapping[str, Sequence[tuple[str, float, str]]],
    note: str = "",
    axis: str = "accuracy",
    least: float = 0.0,
) -> str:
    """One named row each, with a dot for each (name, fraction, color); a ring if the color is `base`.

    least: the minimal range of the axis, the width of the interval of one of the fractions.
    """
    values = [value for row in rows.values() for _, value, _ in row]
    span = max(max(values) - min(values), 0.05)
    low, top = wide_enough(min(values) - 0.08 * span, max(values) + 0.08 * span, least)
    frame = _rows(list(rows), low, top, 16, axis=axis)
    high = row_height(len(rows))
    legend: dict[tuple[str, str], None] = {}
    for i, (label, row) in enumerate(rows.items()):
        y = svg.TOP + high * (i + 0.5)
        ends = frame.x(np.array([min(value for _, value, _ in row), max(value for _, value, _ in row)]))
        frame.add(f'<line class="axis" x1="{ends[0]:.1f}" x2="{ends[1]:.1f}" y1="{y:g}" y2="{y:g}"/>')
        for name, value, kind in row:
            shape = "ring" if kind == "base" else "dot"
            legend[f"{kind} {shape}", name] = None
            frame.add(
                f'<circle class="{shape} {kind}" cx="{float(frame.x(value)):.1f}" cy="{y:g}" r="5.5">'
                f"<title>{html.escape(f'{label}, {name}')}: {100 * value:.2f}%</title></circle>"
            )
    says = "; ".join(
        f"{label}: " + ", ".join(f"{name} {100 * value:.2f}%" for name, value, _ in row) for label, row in rows.items()
    )
    return svg.figure(title, frame.svg(f"{title}: {says}"), list(legend), note)


def row_height(count: int) -> int:
    """The height of each of `count` rows: many are closer together."""
    return ROW if count <= 12 else 23


def _rows(
    names: Sequence[str],
    low: float,
    high: float,
    right: float,
    strong: Set[str] = frozenset(),
    axis: str = "accuracy",
) -> svg.Frame:
    """A frame with a named row for each, on an axis of fractions."""
    row = row_height(len(names))
    texts = [row_label(name) for name in names]
    frame = svg.Frame(
        (low, high),
        (len(names), 0),
        left=18 + LETTER * max(map(len, texts)),
        right=right,
        height=svg.TOP + svg.BOTTOM + row * len(names),
    )
    bottom = frame.height - svg.BOTTOM
    for value in svg.ticks(low, high, 5):
        x = float(frame.x(value))
        frame.add(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{svg.TOP}" y2="{bottom:g}"/>')
        frame.text(x, bottom + 16, svg.percent(round(value, 6)), "tick", "middle")
    frame.text((frame.left + svg.WIDTH - right) / 2, frame.height - 5, axis, "title", "middle")
    for i, (name, text) in enumerate(zip(names, texts, strict=True)):
        frame.text(frame.left - 12, svg.TOP + row * (i + 0.5) + 4, text, "strong" if name in strong else "", "end")
    return frame


def row_label(name: str) -> str:
    """At most NAME characters of a name: in "benchmark: domain" the benchmark is shortened, since the rest differs."""
    head, colon, tail = name.rpartition(": ")
    room = NAME - len(colon) - len(tail)
    return f"{shortened(head, room)}{colon}{tail}" if colon and room > 3 else shortened(name, NAME)


def running_mean(values: np.ndarray) -> np.ndarray:
    """Over about a twentieth of the values, symmetric: it starts at the first value and ends at the last."""
    width = max(2, len(values) // 40)
    result = np.empty(len(values))
    for i in range(len(values)):
        reach = min(width, i, len(values) - 1 - i)
        near = values[i - reach : i + reach + 1]
        near = near[np.isfinite(near)]
        result[i] = near.mean() if len(near) else math.nan
    return result


def shares(title: str, rows: Mapping[str, Sequence[float]], names: Sequence[str], note: str = "") -> str:
    """One bar per row, divided into parts that sum to 1."""
    longest = max(len(name) for name in rows)
    frame = svg.Frame((0.0, 1.0), (0.0, 1.0), left=min(150, 18 + 6.6 * longest), height=svg.TOP + 22 + ROW * len(rows))
    for i, (name, parts) in enumerate(rows.items()):
        y, at = svg.TOP + ROW * i, 0.0
        frame.text(frame.left - 12, y + 18, name, "", "end")
        for k, part in enumerate(parts):
            start, end = float(frame.x(at)), float(frame.x(min(1.0, at + part)))
            frame.add(
                f'<rect class="bar {paint(k)}" x="{start:.1f}" y="{y}" width="{max(0.0, end - start):.1f}" height="26">'
                f"<title>{html.escape(names[k])}: {100 * part:.1f}%</title></rect>"
            )
            if part > 0.12:
                frame.text((start + end) / 2, y + 17, f"{100 * part:.0f}%", "inside", "middle")
            at += part
    for value in (0.0, 0.25, 0.5, 0.75, 1.0):
        frame.text(float(frame.x(value)), frame.height - 6, svg.percent(value), "tick", "middle")
    says = "; ".join(f"{name} {', '.join(f'{100 * part:.0f}%' for part in parts)}" for name, parts in rows.items())
    return svg.figure(title, frame.svg(f"{title}: {says}"), [(paint(k), name) for k, name in enumerate(names)], note)
