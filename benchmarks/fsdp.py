"""What a frozen tree takes on each device when it is sharded over several: ViT-g/14, from shapes only.

    python benchmarks/fsdp.py --out=benchmarks/results/fsdp.json

The real step (LoRA of rank 16 on dinov2_vitg14 at 224 px, remat, embedding 512, 10,572 classes, global batch 64) is
compiled for 8 host devices with train.fsdp 1, 2, 4 and 8, and with backbone.quantize=int8; nothing of the model is
allocated. frozen: bytes of the frozen tree on each device, as accelerators store it (bfloat16) and in float32. held:
inputs and outputs of the step in float32; work: what it needs besides, by `memory_analysis()`. (In float32, since a
CPU's program in bfloat16 widens the stack of blocks before its loop, which no accelerator does.)
gathered: the largest array that the devices gather, and whether every gather of a kernel is inside a loop.
"""

from __future__ import annotations

import argparse
import os
import re
import time
from pathlib import Path
from typing import Any

DEVICES, CLASSES, BATCH = 8, 10_572, 64
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={DEVICES}"
os.environ["JAX_PLATFORMS"] = "cpu"


def measured(fsdp: int, quantize: str) -> dict[str, Any]:
    """Bytes on each device with these settings."""
    from from_shapes import abstract_trees, compile_step

    from adaptface_jax.config.schema import BackboneConfig, Config, TrainConfig
    from adaptface_jax.core import trees
    from adaptface_jax.distributed.mesh import make_mesh

    def config(dtype: str) -> Config:
        return Config(
            backbone=BackboneConfig("dinov2_vitg14", image_size=224, dtype=dtype, quantize=quantize),
            train=TrainConfig(batch_size=BATCH, fsdp=fsdp, remat=True),
        )

    frozen = {
        dtype: trees.device_bytes(abstract_trees(config(dtype), CLASSES, make_mesh(fsdp=fsdp))[1])
        for dtype in ("bfloat16", "float32")
    }
    before = time.perf_counter()
    used, program = compile_step(config("float32"), CLASSES)
    gathers = [line for line in program.splitlines() if re.search(r" all-gather\(", line)]
    return {
        "fsdp": fsdp,
        "quantize": quantize,
        "frozen_bytes": frozen,
        "held_bytes": used.held,
        "work_bytes": used.work,
        "gathered_bytes": max(map(array_bytes, gathers), default=0),
        "kernels_gathered_in_loops": all("while/body" in line for line in gathers if "sharding_constraint" in line),
        "compile_seconds": round(time.perf_counter() - before, 1),
    }


def array_bytes(line: str) -> int:
    """Bytes of the array that a line of a compiled program gives."""
    found = re.search(r"= (\w+)\[([\d,]*)\]", line)
    assert found is not None
    count = 1
    for number in filter(None, found[2].split(",")):
        count *= int(number)
    return count * {"s8": 1, "bf16": 2}.get(found[1], 4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    from showing import show

    rows = []
    for quantize in ("none", "int8"):
        for fsdp in (1, 8) if quantize == "int8" else (1, 2, 4, 8):
            row = measured(fsdp, quantize)
            rows.append(row)
            print(
                f"fsdp {fsdp}, quantize {quantize:4}: {row['frozen_bytes']['bfloat16'] / 1e9:.2f} GB in bfloat16, "
                f"{row['frozen_bytes']['float32'] / 1e9:.2f} in float32, whose step has "
                f"{row['held_bytes'] / 1e9:.2f} held, {row['work_bytes'] / 1e9:.2f} at work",
                flush=True,
            )
    show({"backbone": "dinov2_vitg14", "devices": DEVICES, "batch": BATCH, "classes": CLASSES, "rows": rows}, args.out)


if __name__ == "__main__":
    main()
