# SPDX-License-Identifier: Apache-2.0
"""The handbook's table of training steps, from the files that `benchmarks/train_step.py` wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parents[1] / "benchmarks" / "results"
NAMES = {
    "lora": "LoRA 16",
    "lora48": "LoRA 48",
    "dalora_block2": "DA-LoRA, router `block:2`",
    "dalora_frozen": "DA-LoRA, router `frozen`",
    "dalora_frozen_cached": "DA-LoRA, router `frozen`, features computed before",
    "dalora_shared": "DA-LoRA `block:2` with a shared expert",
    "frozen": "frozen forward pass alone",
    "peft": "transformers + PEFT, LoRA 16",
    "peft_compiled": "the same, `torch.compile`",
    "frozen_torch": "transformers, forward pass alone",
}
FORWARD = ("frozen", "frozen_torch")
HEAD = "| | images/s | over PEFT | over LoRA 16 | peak memory |\n| --- | ---: | ---: | ---: | ---: |"


def step_table() -> str:
    """A heading and a table for each file, the latest first; a forward pass is compared with transformers' own."""
    found = [(file.name, json.loads(file.read_text(encoding="utf-8"))) for file in sorted(RESULTS.glob("*.json"))]
    steps = [(name, run) for name, run in found if "problem" in run and "results" in run]
    return "\n\n".join(_section(*run) for run in sorted(steps, key=lambda run: run[1]["machine"]["date"], reverse=True))


def _section(file: str, run: dict[str, Any]) -> str:
    machine, cores = run["machine"], run["machine"]["cores"]
    dtype = run["results"][0]["dtype"]
    where = f"{machine['processor']}, {cores} {'cores' if cores > 1 else 'core'}, {dtype}"
    said = f"`{file}`: batch {run['problem']['batch_size']}, {run['rounds']} rounds, {machine['date']}."
    return "\n".join(
        [f"### {where} {{ #{file.removesuffix('.json')} }}", "", said, "", HEAD, *map(_row, run["results"])]
    )


def _row(found: dict[str, Any]) -> str:
    variant = found["variant"]
    over_peft, over_lora = ("" if variant in FORWARD else _ratio(found, name) for name in ("peft", "lora"))
    if variant == "frozen" and (of_torch := _ratio(found, "frozen_torch")):
        over_peft = f"{of_torch} of transformers'"
    memory = f"{found['peak_bytes'] / 1e9:.2f} GB"
    cells = NAMES[variant], f"{found['images_per_second']:.2f}", over_peft, over_lora, memory
    return f"| {' | '.join(cells)} |"


def _ratio(found: dict[str, Any], name: str) -> str:
    ratio = found.get(f"speed_over_{name}")
    return "" if ratio is None else f"{ratio:.2f}x"
