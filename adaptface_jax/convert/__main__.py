"""Convert published weights of vision models into a folder that `backbone.weights` accepts.

    adaptface convert facebook/dinov2-small --out weights/dinov2_small
    adaptface convert dinov2_vits14_reg4_pretrain.pth --out weights/dinov2_small_reg4
    adaptface convert open_clip_model.safetensors --out weights/laion --activation gelu
    adaptface convert wf42m_vit_b/model.pt --out weights/face_b
    adaptface convert --inspect ViT-B-16.pt

SRC is a hub id, a folder or a file: safetensors (one, or shards with their index), `.pth` or TorchScript; named by
torch hub, Hugging Face, timm, OpenAI, open_clip, InsightFace or CVLface. Nothing in it is executed; every tensor name
is accounted for; the folder says what it is in `backbone.json`. What the shapes cannot tell comes from the settings
beside the weights, and `--activation`, `--position_rule`, `--mean` and `--std` win over them. Wrappers' prefixes are
peeled, other copies and heads put aside; all that is assumed or passed over is printed. `--inspect` says what SRC is,
and writes nothing. Exit status 2, and one line, where that fails.
"""

from __future__ import annotations

import argparse

from adaptface_jax.cli.command import run_command
from adaptface_jax.cli.outputs import output_folder
from adaptface_jax.cli.parser import Parser
from adaptface_jax.models.specs import BACKBONES, POSITION_RULES


def main(args: argparse.Namespace) -> None:
    """Convert or inspect, and print what was found."""
    from adaptface_jax.convert.work import work

    work(args)


def parser() -> Parser:
    """The command line."""
    result = Parser(__doc__ or "")
    result.add_argument("source", metavar="SRC", help="folder, file or hub id")
    result.add_argument("--out", type=output_folder, metavar="DIR", help="folder to write")
    names = sorted(BACKBONES)
    found = f"the backbone it must be ({', '.join(names)}); else found from the shapes"
    result.add_argument("--name", choices=names, metavar="NAME", help=found)
    result.add_argument(
        "--activation",
        choices=sorted({spec.activation for spec in BACKBONES.values()}),
        help="wins over what stands beside the weights",
    )
    result.add_argument("--position_rule", choices=sorted(POSITION_RULES), help="else as the weights' project does it")
    result.add_argument("--mean", metavar="M", help="image means in 0 to 1, one or three: 0.5 or 0.48,0.46,0.41")
    result.add_argument("--std", metavar="S", help="standard deviations, as --mean; both win over the files")
    result.add_argument("--under", metavar="PREFIX", help="the module that holds the tower, where there are several")
    result.add_argument("--overwrite", action="store_true", help="replace an older converted folder")
    result.add_argument("--inspect", action="store_true", help="say what SRC is, and convert nothing")
    result.add_argument("--all", action="store_true", help="with --inspect: a line for every tensor, blocks not folded")
    return result


if __name__ == "__main__":
    run_command(main, parser())
