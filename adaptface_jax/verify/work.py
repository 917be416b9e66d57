"""What `adaptface verify` does."""

from __future__ import annotations

import argparse
import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np

from adaptface_jax.align.geometry import CROP_SIZE
from adaptface_jax.api.open_model import open_from_flags
from adaptface_jax.api.pair import PairDecision
from adaptface_jax.api.photographs import Cropper
from adaptface_jax.api.rule import choose_rule
from adaptface_jax.core.files import write_text
from adaptface_jax.core.json_io import to_json
from adaptface_jax.core.text import short_names, shown
from adaptface_jax.evaluation.risk import is_telling
from adaptface_jax.evaluation.thresholds import described
from adaptface_jax.training.run import RESULTS, STORED, required_record

BAR = 20  # characters of a gate at 100%


def work(args: argparse.Namespace) -> None:
    """Check the threshold and the photographs, open the model, compare, print the outcome."""
    results = Path(args.results) if args.results else Path(args.run) / RESULTS if args.run else None
    rule = choose_rule(results, args.far, args.benchmark, args.threshold)
    own = [required_record(Path(args.run), "--run: ").get(STORED, CROP_SIZE)] if args.run else []
    cropper = Cropper(crops=[CROP_SIZE, *own])
    photographs = cropper(args.first, 0, "auto"), cropper(args.second, 1, "auto")
    model = open_from_flags(args, [photograph.image for photograph in photographs])
    decision = model.compare(photographs, rule)
    print(decision_text(decision))
    if args.output:
        write_text(Path(args.output), to_json(outcome(decision, model.facts), indent=2) + "\n")
        print(f"written: {args.output}")


def decision_text(decision: PairDecision) -> str:
    """The decision as text."""
    place = "below" if decision.same else "not below"
    names = names_of(decision)
    taken = [photograph.taken for photograph in decision.photographs]
    lines = [f"{name}: {how}" for name, how in zip(names, taken, strict=True)]
    lines += [
        f"similarity {decision.similarity:.4f} (cosine), squared distance {decision.squared_distance:.4f}",
        f"{verdict(decision)}: the distance is {place} {described(decision.threshold)}",
        "how many strangers pass at this threshold is unknown" if decision.risk is None else str(decision.risk),
    ]
    if decision.likelihood is not None:
        lines.append(f"likelihood ratio {decision.likelihood}")
    if decision.note:
        lines.append(f"note: {decision.note}")
    if decision.gates is not None:
        lines.append(gate_bars(decision.gates, decision))
    return "\n".join(lines)


def verdict(decision: PairDecision) -> str:
    """What the distance means: in capitals only where hardly any stranger passes."""
    found = decision.likelihood
    if decision.same and is_telling(decision.risk):
        return "SAME PERSON"
    passed = "passed" if decision.same else "not passed"
    if found is None:
        return f"{passed}; whether one person is more likely is unknown"
    if found.ratio >= 1:
        return ("" if decision.same else "not passed, yet ") + "same person more likely"
    return ("passed, yet " if decision.same else "") + "two people more likely"


def names_of(decision: PairDecision) -> list[str]:
    """The two photographs' names, as short as distinguishes them."""
    return [shown(name) for name in short_names([photograph.name for photograph in decision.photographs])]


def outcome(decision: PairDecision, facts: dict[str, Any]) -> dict[str, Any]:
    """The decision for scripts."""
    images: list[dict[str, Any]] = [
        {"path": photograph.path, "aligned": photograph.faces is not None, "faces": photograph.faces}
        for photograph in decision.photographs
    ]
    if decision.gates is not None:
        for image, gates in zip(images, decision.gates.tolist(), strict=True):
            image["gates"] = dict(zip(decision.gate_names, gates, strict=True))
    return {
        "model": facts,
        "images": images,
        "similarity": decision.similarity,
        "squared_distance": decision.squared_distance,
        "threshold": dataclasses.asdict(decision.threshold),
        "same": decision.same,
        "risk": decision.risk,
        "likelihood": decision.likelihood,
    }


def gate_bars(gates: np.ndarray, decision: PairDecision) -> str:
    """One row per gate, one column per photograph; gates: float32 [2, K]."""
    names = decision.gate_names
    width = max(len(name) for name in names)
    lines = [f"gates of {' and '.join(names_of(decision))}"]
    for expert, name in enumerate(names):
        cells = [f"{'█' * math.floor(BAR * gate + 0.5):{BAR}} {100 * gate:5.1f}%" for gate in gates[:, expert].tolist()]
        lines.append(f"  {name:{width}}  {'   '.join(cells)}")
    return "\n".join(lines)
