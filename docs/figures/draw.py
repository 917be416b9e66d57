"""The figures of the handbook, as SVG beside this file.

    python docs/figures/draw.py

Shapes and counts come from the package, measurements from benchmarks/results/. Each figure has a light ground of its
own, so that it is readable on dark pages too, and its text is at least 9 px high on a telephone 390 px wide.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse, FancyArrowPatch, FancyBboxPatch, Rectangle
from scipy import stats

from adaptface_jax.config.schema import AdapterConfig
from adaptface_jax.models.adapters.lora import target_shapes
from adaptface_jax.models.specs import backbone_spec

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parents[1] / "benchmarks" / "results"

GROUND, INK, QUIET = "#f6f8f9", "#1f2933", "#5c6b78"
FROZEN, TRAINED, OTHER = "#c3ccd4", "#00897b", "#e07a1f"
WIDTH = 6.4  # inches
STYLE = {
    "font.size": 12,
    "svg.hashsalt": "adaptface_jax",  # the same file from the same figure
    "axes.facecolor": GROUND,
    "figure.facecolor": GROUND,
    "text.color": INK,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "xtick.color": QUIET,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
}

RANK = AdapterConfig().rank
SPEC = backbone_spec("dinov2_vits14")


def board(height: float, width: float = 100) -> tuple[Figure, Axes]:
    """An empty board of `width` units, and as many units high as `height` inches make."""
    figure = plt.figure(figsize=(WIDTH, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, width)
    axes.set_ylim(0, width * height / WIDTH)
    axes.axis("off")
    return figure, axes


def box(
    axes: Axes, x: float, y: float, width: float, height: float, color: str, text: str = "", size: float = 12
) -> None:
    axes.add_patch(FancyBboxPatch((x, y), width, height, "round,pad=0,rounding_size=1", fc=color, ec="none"))
    ink = "white" if color in (TRAINED, OTHER) else INK
    axes.text(x + width / 2, y + height / 2, text, ha="center", va="center", color=ink, size=size)


def arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], color: str = QUIET) -> None:
    axes.add_patch(
        FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=14, color=color, lw=1.4, shrinkA=0, shrinkB=0)
    )


def note(axes: Axes, x: float, y: float, text: str, color: str = QUIET, size: float = 11, ha: str = "center") -> None:
    axes.text(x, y, text, ha=ha, va="center", color=color, size=size)


def face(axes: Axes, x: float, y: float, side: float) -> None:
    """A face, cut into patches."""
    axes.add_patch(Rectangle((x, y), side, side, fc="white", ec=QUIET, lw=1))
    axes.add_patch(Ellipse((x + side / 2, y + side * 0.48), side * 0.62, side * 0.8, fc="#f0d9c4", ec="none"))
    for eye in (0.38, 0.62):
        axes.add_patch(Ellipse((x + side * eye, y + side * 0.57), side * 0.07, side * 0.07, fc=INK, ec="none"))
    axes.plot(
        [x + side * 0.4, x + side * 0.5, x + side * 0.6], [y + side * s for s in (0.31, 0.28, 0.31)], color=INK, lw=1.5
    )
    for line in np.linspace(0, side, 5)[1:-1]:
        axes.plot([x + line, x + line], [y, y + side], color=QUIET, lw=0.7)
        axes.plot([x, x + side], [y + line, y + line], color=QUIET, lw=0.7)


def pipeline() -> Figure:
    """From an image to an embedding; what is frozen and what is trained."""
    figure, axes = board(2.9)
    face(axes, 2, 17, 18)
    note(axes, 11, 12.5, "image,\nin patches")
    arrow(axes, (21, 26), (26, 26))
    for block in range(SPEC.depth):
        x = 27 + block * 2.9
        axes.add_patch(Rectangle((x, 14), 2.2, 24, fc=FROZEN, ec="none"))
        axes.add_patch(Rectangle((x + 0.4, 28), 1.4, 7, fc=TRAINED, ec="none"))
    note(axes, 44, 9.5, f"{SPEC.depth} blocks, an adapter in each")
    arrow(axes, (62, 26), (66, 26))
    note(axes, 64, 30, f"{SPEC.width}")
    box(axes, 67, 17, 10, 18, TRAINED, "head")
    arrow(axes, (78, 26), (83, 26))
    note(axes, 80.5, 30, "512")
    axes.add_patch(Ellipse((90.5, 26), 13, 13, fc="white", ec=QUIET))
    arrow(axes, (90.5, 26), (94.9, 30.6), TRAINED)
    note(axes, 90.5, 13.5, "a direction:\nthe embedding")
    for x, color, text in ((27, FROZEN, "frozen"), (50, TRAINED, "trained")):
        axes.add_patch(Rectangle((x, 41.5), 3, 2.6, fc=color, ec="none"))
        note(axes, x + 4.5, 42.8, text, INK, ha="left")
    return figure


def lora() -> Figure:
    """W beside A and B, to scale."""
    figure, axes = board(3.2)
    unit = 30 / SPEC.width  # of a weight's side
    side, strip = SPEC.width * unit, RANK * unit
    axes.add_patch(Rectangle((4, 11), side, side, fc=FROZEN, ec="none"))
    note(axes, 4 + side / 2, 11 + side / 2, "W", INK, 22)
    note(axes, 4 + side / 2, 6, f"{SPEC.width} x {SPEC.width}\n{SPEC.width**2:,} frozen")
    note(axes, 41, 11 + side / 2, "+", INK, 22)
    axes.add_patch(Rectangle((50, 11), strip, side, fc=TRAINED, ec="none"))
    note(axes, 54.5, 11 + side / 2, "B", TRAINED, 22)
    note(axes, 51, 6, f"{SPEC.width} x {RANK}\n{SPEC.width * RANK:,}")
    note(axes, 60.5, 11 + side / 2, "·", INK, 22)
    axes.add_patch(Rectangle((66, 11 + side / 2 - strip / 2), side, strip, fc=TRAINED, ec="none"))
    note(axes, 66 + side / 2, 11 + side / 2 + 4.5, "A", TRAINED, 22)
    note(axes, 66 + side / 2, 11 + side / 2 - 6, f"{RANK} x {SPEC.width}\n{RANK * SPEC.width:,}")
    note(axes, 70, 46, f"trained: {2 * RANK * SPEC.width:,}, a twelfth", TRAINED, 12)
    return figure


def parameters() -> Figure:
    """What the 865,664 trained parameters of EXP-001 are."""
    width, patch = SPEC.width, SPEC.patch_size
    shapes = target_shapes(SPEC, ("qkv", "proj"))
    of = {name: SPEC.depth * RANK * sum(shape) for name, shape in shapes.items()}
    parts = {
        "LoRA on qkv": of["qkv"],
        "LoRA on proj": of["proj"],
        "patch embedding": patch * patch * 3 * width + width,
        "head": width * 512 + 512,
    }
    trained = sum(parts.values())
    total = 22_268_288
    figure, (whole, detail) = plt.subplots(2, figsize=(WIDTH, 3.6), height_ratios=(1, 3.4))
    whole.barh([0], [total], color=FROZEN, height=0.6)
    whole.barh([0], [trained], color=TRAINED, height=0.6)
    whole.text(total * 0.52, 0, f"{total:,} parameters, {100 * trained / total:.2f}% trained", ha="center", va="center")
    whole.axis("off")
    names = list(parts)
    detail.barh(names, [parts[name] for name in names], color=[TRAINED, TRAINED, OTHER, OTHER], height=0.62)
    for row, name in enumerate(names):
        detail.text(parts[name] + 5_000, row, f"{parts[name]:,}", va="center")
    detail.invert_yaxis()
    detail.set_xlim(0, 380_000)
    detail.set_xticks([])
    detail.spines["bottom"].set_visible(False)
    detail.set_title(f"the {trained:,} of them", size=12, loc="left")
    detail.tick_params(left=False)
    figure.tight_layout()
    return figure


def dalora() -> Figure:
    """The router and the experts beside a frozen layer."""
    figure, axes = board(3.6)
    face(axes, 2, 22, 14)
    arrow(axes, (17, 29), (21, 29))
    box(axes, 22, 20, 13, 18, FROZEN, "first\nblocks")
    arrow(axes, (36, 29), (61, 26))
    arrow(axes, (36, 27), (61, 13))
    arrow(axes, (28.5, 38.5), (38, 46))
    box(axes, 39, 42, 15, 9, OTHER, "router")
    gates = (("w₁", 0.2), ("w₂", 0.7), ("w₃", 0.1))
    arrow(axes, (55, 46.5), (59, 46.5))
    for k, (name, weight) in enumerate(gates):
        y = 49.5 - 4.6 * k
        axes.add_patch(Rectangle((64, y - 1.5), 20 * weight, 3, fc=OTHER, ec="none"))
        note(axes, 62, y, name, INK, 12)
        note(axes, 65.5 + 20 * weight, y, f"{100 * weight:.0f}%", QUIET, ha="left")
    for k in range(3):
        x = 62 + 11.5 * k
        box(axes, x, 21, 10, 10, TRAINED, f"B{'₁₂₃'[k]}A{'₁₂₃'[k]}")
        arrow(axes, (x + 5, 37), (x + 5, 31.5), OTHER)
        note(axes, x + 8, 34.8, f"x w{'₁₂₃'[k]}", OTHER)
    box(axes, 62, 8, 33, 9, FROZEN, "W, as in any other layer")
    note(axes, 78.5, 3.5, "the next layer gets their sum")
    return figure


def domains() -> Figure:
    """Variants of DA-LoRA beside LoRA of rank 48, as measured."""
    rows = {row["variant"]: row for row in json.loads((RESULTS / "domains_film.json").read_text())["rows"]}
    shown = {
        "frozen": "frozen backbone",
        "lora16": "LoRA 16",
        "lora48, rate x 2": "LoRA 48, twice the rate",
        "shared": "shared + 4 experts, labels",
        "unlabelled": "3 experts, no labels",
        "frozen router": "3 experts, router frozen",
        "ordinary": "4 experts, labels",
        "scaled": "3 experts, labels",
    }
    figure, axes = plt.subplots(figsize=(WIDTH, 3.8))
    axes.axvline(0, color=INK, lw=1)
    for place, (variant, name) in enumerate(shown.items()):
        found = rows[variant]["over_lora48"]["domains"]["cross"]
        low, high = (100 * end for end in found["auc_interval"])
        color = OTHER if "expert" in name else QUIET
        axes.plot([low, high], [place, place], color=color, lw=2.4, solid_capstyle="round")
        axes.plot(100 * found["auc_difference"], place, "o", color=color, ms=7)
    axes.set_yticks(range(len(shown)), list(shown.values()))
    axes.invert_yaxis()
    axes.tick_params(left=False)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("points of AUC over LoRA 48, with 95% intervals")
    figure.tight_layout()
    return figure


def threshold() -> Figure:
    """Two humps and a threshold between them: drawn, not measured."""
    distance = np.linspace(0, 3, 400)
    genuine, impostor = stats.norm(0.85, 0.3), stats.norm(1.85, 0.24)
    figure, axes = plt.subplots(figsize=(WIDTH, 3.2))
    chosen = 1.35
    for kind, color, name in ((genuine, TRAINED, "one person"), (impostor, OTHER, "strangers")):
        axes.plot(distance, kind.pdf(distance), color=color, lw=2)
        axes.text(kind.mean(), kind.pdf(kind.mean()) + 0.06, name, ha="center", color=color)
    wrong = distance <= chosen
    axes.fill_between(distance[wrong], impostor.pdf(distance[wrong]), color=OTHER, alpha=0.55, lw=0)
    axes.fill_between(distance[~wrong], genuine.pdf(distance[~wrong]), color=TRAINED, alpha=0.45, lw=0)
    axes.axvline(chosen, color=INK, lw=1.4)
    axes.text(chosen + 0.03, 2.02, "threshold", va="top")
    axes.text(chosen - 0.05, 1.75, "accepted", ha="right", va="top", color=QUIET)
    axes.text(0.03, 1.0, "strangers\nwho pass\n(FAR)", color=OTHER, va="center")
    axes.annotate("", (1.2, 0.03), (0.2, 0.68), arrowprops={"arrowstyle": "-|>", "color": OTHER})
    axes.text(2.97, 1.0, "rejected,\nthough\ngenuine", color=TRAINED, ha="right", va="center")
    axes.annotate("", (1.5, 0.06), (2.75, 0.68), arrowprops={"arrowstyle": "-|>", "color": TRAINED})
    axes.set_ylim(0, 2.1)
    axes.set_xlim(0, 3)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("squared distance of two embeddings")
    figure.tight_layout()
    return figure


FIGURES: dict[str, Callable[[], Figure]] = {
    figure.__name__: figure for figure in (pipeline, lora, parameters, dalora, domains, threshold)
}


def draw(folder: Path) -> None:
    """Write every figure into `folder`."""
    with plt.rc_context(STYLE):
        for name, figure in FIGURES.items():
            drawn = figure()
            drawn.savefig(folder / f"{name}.svg", metadata={"Date": None})
            plt.close(drawn)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=HERE, help="the folder to write to [here]")
    draw(parser.parse_args().out)
