"""Export a trained run for other tools.

    adaptface export --run=runs/exp003 --format=merged --mix=mean --data=/data/faces --out=merged/
    adaptface export --run=runs/exp001 --format=peft --out=adapter/
    adaptface export --run=runs/exp001 --format=onnx --preprocess --out=onnx/

merged: the backbone with the adapter folded in, in the Hugging Face layout. peft: the adapter as PEFT folders.
stablehlo, onnx: images in, unit embeddings (and gates) out. Everything is written in float32.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from jax.sharding import Mesh

from adaptface_jax.cli.command import run_command
from adaptface_jax.cli.parser import Parser
from adaptface_jax.core.errors import InputError
from adaptface_jax.core.files import check_folder, whole_folder
from adaptface_jax.data.sources.from_path import open_source
from adaptface_jax.data.stored_size import size_line
from adaptface_jax.distributed.mesh import make_mesh
from adaptface_jax.export.merged import write_merged
from adaptface_jax.export.mixing import choose_mix
from adaptface_jax.export.peft import write_peft
from adaptface_jax.export.record import RECORD
from adaptface_jax.training.recognition.model import Model
from adaptface_jax.training.recognition.run import open_run
from adaptface_jax.weights.peft.names import LAYOUTS

# Which formats each flag belongs to.
FLAGS = {
    "mix": ("merged",),
    "data": ("merged",),
    "layout": ("peft",),
    "preprocess": ("stablehlo", "onnx"),
    "input_size": ("stablehlo", "onnx"),
}


def merged(args: argparse.Namespace, model: Model, mesh: Mesh, out: Path) -> list[str]:
    source = None if args.data is None else open_source(args.data)
    mix, lost = choose_mix(args.mix, model, source, mesh)
    return [*write_merged(model, out, mix=mix), *lost]


def peft(args: argparse.Namespace, model: Model, mesh: Mesh, out: Path) -> list[str]:
    return write_peft(model, out, layout=args.layout or LAYOUTS[0])


def stablehlo(args: argparse.Namespace, model: Model, mesh: Mesh, out: Path) -> list[str]:
    from adaptface_jax.export.stablehlo import write_stablehlo

    return write_stablehlo(model, out, preprocess=preprocesses(args), input_size=input_size(args, model))


def onnx(args: argparse.Namespace, model: Model, mesh: Mesh, out: Path) -> list[str]:
    from adaptface_jax.export.onnx import write_onnx  # needs the extra `onnx`

    return write_onnx(model, out, preprocess=preprocesses(args), input_size=input_size(args, model))


Writer = Callable[[argparse.Namespace, Model, Mesh, Path], list[str]]
FORMATS: dict[str, Writer] = {"merged": merged, "peft": peft, "stablehlo": stablehlo, "onnx": onnx}


def preprocesses(args: argparse.Namespace) -> bool:
    """Whether resizing and normalisation are part of the graph; they are unless told otherwise."""
    return args.preprocess is not False


def input_size(args: argparse.Namespace, model: Model) -> int:
    """Pixels of the stored images that a graph with preprocessing takes: the run's own, unless told otherwise."""
    return model.stored_size if args.input_size is None else args.input_size


def check_flags(args: argparse.Namespace) -> None:
    """Raise InputError for a flag that the format has no use for: nothing is ignored."""
    for flag, formats in FLAGS.items():
        if getattr(args, flag) is not None and args.format not in formats:
            raise InputError(
                f"--{flag}: belongs to --format={' and '.join(formats)}, not to {args.format}; leave it out"
            )
    if args.preprocess is False and args.input_size is not None:
        raise InputError("--input_size: without preprocessing the input has the run's image size; leave it out")


def main(args: argparse.Namespace) -> None:
    """Check everything, open the run in float32, write the folder whole, say what it is."""
    check_flags(args)
    out = Path(args.out)
    target = {"overwrite": args.overwrite, "marker": RECORD, "what": "an export"}
    check_folder(out, **target)  # before the run is opened, which takes time
    mesh = make_mesh()
    model, step = open_run(Path(args.run), args.checkpoint, mesh, dtype="float32")
    images = size_line(model.stored_size, model.recognizer.config.backbone.image_size)
    with whole_folder(out, **target) as scratch:
        lines = FORMATS[args.format](args, model, mesh, scratch)
    print("\n".join([f"run: {args.run}, step {step:,}", images, *lines, f"written: {out}"]))


def parser() -> Parser:
    """The command line."""
    result = Parser(__doc__ or "")
    result.add_argument("--run", required=True, metavar="WORKDIR", help="the folder of a training run")
    result.add_argument("--format", required=True, choices=tuple(FORMATS), help="what to write")
    result.add_argument("--out", required=True, metavar="DIR", help="the folder to write")
    result.add_argument("--overwrite", action="store_true", help="replace an older export in --out")
    result.add_argument("--checkpoint", default="best", help="best, latest or a step of the run [best]")
    result.add_argument("--mix", metavar="W1,W2,...", help="merged, DA-LoRA: the weight of each expert, or `mean`")
    result.add_argument("--data", metavar="SOURCE", help="merged, DA-LoRA: faces for --mix=mean and for what is lost")
    result.add_argument("--layout", choices=LAYOUTS, help="peft: names of transformers 5 or 4 [v5]")
    result.add_argument(
        "--preprocess", action=argparse.BooleanOptionalAction, help="graphs: stored uint8 images in [on]"
    )
    result.add_argument(
        "--input_size", type=int, metavar="PX", help="graphs: size of the images with preprocessing [the run's own]"
    )
    return result


if __name__ == "__main__":
    run_command(main, parser())
