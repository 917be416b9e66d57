"""Export a trained run, or a bare backbone, for other tools.

    adaptface export --run=runs/exp003 --format=merged --mix=mean --data=/data/faces --out=merged/
    adaptface export --run=runs/exp001 --format=peft --with_base --out=adapter/
    adaptface export --run=runs/exp001 --format=onnx --out=onnx/ --push_to_hub=OWNER/NAME
    adaptface export --weights=weights/dinov2_small --format=base --out=base/

merged: the backbone with the adapter folded in, in the Hugging Face layout. peft: the adapter as PEFT folders.
stablehlo, onnx: images in, unit embeddings (and gates) out. base: the backbone without an adapter, of a run or of any
weights, in the Hugging Face layout. Everything is written in float32, with a README.md that is also a model card; for
runs with backbone.quantize, these are the backbone's own weights, not the quantized ones used in training.
"""

from __future__ import annotations

import argparse

from adaptface_jax.cli.command import run_command
from adaptface_jax.cli.outputs import output_folder
from adaptface_jax.cli.parser import Parser
from adaptface_jax.export.formats import FORMATS
from adaptface_jax.weights.peft.layouts import LAYOUTS


def main(args: argparse.Namespace) -> None:
    """Check everything, open the run in float32, write the folder atomically, describe it, push it to the hub if
    asked."""
    from adaptface_jax.export.work import work

    work(args)


def parser() -> Parser:
    """The command line."""
    result = Parser(__doc__ or "")
    which = result.add_mutually_exclusive_group(required=True)
    which.add_argument("--run", metavar="WORKDIR", help="the folder of a training run")
    which.add_argument(
        "--weights", metavar="WEIGHTS", help="base: a converted folder, local file, hub id or `builtin`, without a run"
    )
    result.add_argument("--format", required=True, choices=FORMATS, help="what to write")
    result.add_argument("--out", type=output_folder, required=True, metavar="DIR", help="the folder to write")
    result.add_argument(
        "--push_to_hub", metavar="OWNER/NAME", help="then upload it to this model repository of the Hugging Face hub"
    )
    result.add_argument("--overwrite", action="store_true", help="replace an older export in --out")
    result.add_argument("--checkpoint", help="best, latest or a step of the run [best]")
    result.add_argument("--mix", metavar="W1,W2,...", help="merged, DA-LoRA: the weight of each expert, or `mean`")
    result.add_argument("--data", metavar="SOURCE", help="merged, DA-LoRA: faces for --mix=mean, to measure the loss")
    result.add_argument("--layout", choices=LAYOUTS, help="peft: names of transformers 5 or 4 [v5]")
    result.add_argument(
        "--with_base", action="store_true", default=None, help="peft: write the base model next to the adapter"
    )
    result.add_argument("--image_size", type=int, metavar="PX", help="base, --weights: positions resized to it [none]")
    result.add_argument(
        "--preprocess", action=argparse.BooleanOptionalAction, help="graphs: take stored uint8 images [on]"
    )
    result.add_argument(
        "--input_size", type=int, metavar="PX", help="graphs: size of the images with preprocessing [the run's own]"
    )
    return result


if __name__ == "__main__":
    run_command(main, parser())
