# SPDX-License-Identifier: Apache-2.0
"""Convert published weights of vision models into a folder that `backbone.weights` accepts.

    adaptface convert facebook/dinov2-small --out weights/dinov2_small
    adaptface convert dinov2_vits14_reg4_pretrain.pth --out weights/dinov2_small_reg4
    adaptface convert open_clip_model.safetensors --out weights/laion --activation gelu
    adaptface convert wf42m_vit_b/model.pt --out weights/face_b
    adaptface convert --inspect ViT-B-16.pt

SRC is a hub id (OWNER/NAME, or with @REVISION), a folder or a file: safetensors (one, or shards with their index),
`.pth`, `.ckpt` or TorchScript, with the names of torch hub, Hugging Face, timm, OpenAI, open_clip, InsightFace or
CVLface. Nothing in it is executed; every tensor name is accounted for; `backbone.json` in the folder describes it. What
the shapes do not determine comes from the settings next to the weights, which `--activation`, `--position_rule`,
`--mean` and `--std` override. Wrapper prefixes are stripped, other copies and heads set aside; everything assumed or
ignored is printed. `--inspect` describes SRC and writes nothing. On failure: exit status 2 and one line.
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
    found = f"the backbone it must be ({', '.join(names)}) [inferred from the shapes]"
    result.add_argument("--name", choices=names, metavar="NAME", help=found)
    result.add_argument(
        "--activation",
        choices=sorted({spec.activation for spec in BACKBONES.values()}),
        help="overrides the settings next to the weights",
    )
    result.add_argument(
        "--position_rule", choices=sorted(POSITION_RULES), help="how positions are resized [as in the weights' project]"
    )
    result.add_argument(
        "--mean", metavar="M", help="image means on a 0 to 1 scale, one or three: 0.5 or 0.48,0.46,0.41"
    )
    result.add_argument("--std", metavar="S", help="standard deviations, like --mean; both override the files")
    result.add_argument("--under", metavar="PREFIX", help="the module that holds the tower, if there are several")
    result.add_argument("--overwrite", action="store_true", help="replace an older converted folder")
    result.add_argument("--inspect", action="store_true", help="describe SRC, and convert nothing")
    result.add_argument("--all", action="store_true", help="with --inspect: one line per tensor, blocks not collapsed")
    return result


if __name__ == "__main__":
    run_command(main, parser())
