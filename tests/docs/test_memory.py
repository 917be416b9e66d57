# SPDX-License-Identifier: Apache-2.0
"""The table of memory says what `benchmarks/step_memory.py` measured."""

from __future__ import annotations

import json

from tests.docs.pages import ROOT

MODELS = {"dinov2_vits14": "ViT-S/14", "dinov2_vitb14": "ViT-B/14"}
BATCH = 128


def test_the_table_of_memory_is_the_one_that_was_measured():
    found = json.loads((ROOT / "benchmarks" / "results" / "step_memory.json").read_text())
    page = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
    steps = {
        (row["backbone"], row["image_size"], row["remat"]): row for row in found["rows"] if row["adapter"] == "lora"
    }
    for name, label in MODELS.items():
        for size in (112, 224):
            cells = [f"{label}, {size} px", f"{steps[name, size, False]['held_bytes'] / 1e9:.2f} GB"]
            for remat in (False, True):
                row = steps[name, size, remat]
                image = row["work_bytes"] / found["batch"]
                cells += [f"{image / 1e6:.1f} MB", f"{(row['held_bytes'] + BATCH * image) / 1e9:.1f} GB"]
            assert f"| {' | '.join(cells)} |" in page
