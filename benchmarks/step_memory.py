"""What a training step needs of a device's memory, from shapes only: ViT-S and ViT-B at 112 and 224 px.

    python benchmarks/step_memory.py --out=benchmarks/results/step_memory.json

The real step (rank 16 on qkv and proj, a trained patch embedding, embedding 512, 10,572 classes, AdamW, float32, BATCH
images) is compiled for one host device; nothing of the model is allocated. held: inputs and outputs of the step,
including the frozen tree; it does not grow with the batch. work: what it needs besides, by `memory_analysis()`; that
grows. Attention is computed image by image, which keeps no scores, as cuDNN's flash attention does on a GPU; bfloat16
halves the activations there, and this does not count it: a CPU's program widens it.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

BATCH, CLASSES = 64, 10_572
ROWS = [
    (name, size, "lora", remat)
    for name in ("dinov2_vits14", "dinov2_vitb14")
    for size in (112, 224)
    for remat in (False, True)
]
ROWS.append(("dinov2_vits14", 112, "dalora", False))
os.environ["JAX_PLATFORMS"] = "cpu"


def measured(name: str, size: int, kind: str, remat: bool) -> dict[str, Any]:
    """Bytes of a step with these settings."""
    from from_shapes import compile_step

    from adaptface_jax.config.schema import AdapterConfig, BackboneConfig, Config, TrainConfig

    config = Config(
        backbone=BackboneConfig(name, image_size=size, train_patch_embed=True, dtype="float32", attention="each"),
        adapter=AdapterConfig(kind),
        train=TrainConfig(batch_size=BATCH, remat=remat),
    )
    used, _ = compile_step(config, CLASSES)
    return {
        "backbone": name,
        "image_size": size,
        "adapter": kind,
        "remat": remat,
        "held_bytes": used.held,
        "work_bytes": used.work,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    from showing import show

    rows = []
    for name, size, kind, remat in ROWS:
        row = measured(name, size, kind, remat)
        rows.append(row)
        print(
            f"{name}, {size} px, {kind}{', remat' if remat else ''}: {row['held_bytes'] / 1e9:.2f} GB held, "
            f"{row['work_bytes'] / BATCH / 1e6:.1f} MB an image",
            flush=True,
        )
    show({"batch": BATCH, "classes": CLASSES, "dtype": "float32", "rows": rows}, args.out)


if __name__ == "__main__":
    main()
