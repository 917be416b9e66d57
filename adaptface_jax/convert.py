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
from pathlib import Path
from typing import Any

from adaptface_jax.cli.command import run_command
from adaptface_jax.cli.outputs import output_folder
from adaptface_jax.cli.parser import Parser
from adaptface_jax.core import trees
from adaptface_jax.core.errors import InputError
from adaptface_jax.models.layers.mlp import ACTIVATIONS
from adaptface_jax.models.specs import BACKBONES, POSITION_RULES, ImageStats
from adaptface_jax.weights import folder, hub
from adaptface_jax.weights.beside.statistics import image_statistics
from adaptface_jax.weights.inspection import inspect, statistics_line
from adaptface_jax.weights.loading import read_weights
from adaptface_jax.weights.names.differences import listed
from adaptface_jax.weights.names.tables import PROJECTS


def convert(
    source: str,
    out: Path,
    name: str | None = None,
    *,
    position_rule: str | None = None,
    activation: str | None = None,
    mean: str | None = None,
    std: str | None = None,
    under: str | None = None,
    overwrite: bool = False,
) -> list[str]:
    """Converts and returns the lines to print; raises InputError with nothing written.

    mean, std: of images in 0 to 1, one number or three separated by commas.
    """
    statistics = _statistics(mean, std)
    folder.check_target(out, overwrite=overwrite)
    path = hub.resolve(source)
    if folder.is_converted(path):
        raise InputError(f"{source}: is a converted folder already; use it as backbone.weights")
    published = read_weights(path, source, name, position_rule, activation, statistics, under)
    weights, fit, settled = published.weights, published.fit, published.settled
    folder.write_folder(weights, out, overwrite=overwrite)
    spec = weights.spec
    return [
        f"{weights.name} from {source} ({fit.naming})",
        f"  tensors     {len(fit.places)} read, {len(fit.dropped)} put aside",
        *([f"  put aside   {listed(fit.aside)}"] if fit.aside else []),
        f"  parameters  {trees.count(weights.tree):,}",
        f"  sha256      {weights.sha256}",
        (
            f"  positions   {weights.position_rule}, native grid {spec.native_grid} x {spec.native_grid} "
            f"({'as asked for' if position_rule else f'as {PROJECTS[fit.table.project]} does'})"
        ),
        f"  activation  {spec.activation} ({settled.activation_from})",
        f"  statistics  {statistics_line(spec)} ({settled.statistics_from})",
        f"  projection  {'none' if spec.projection is None else spec.projection}",
        *(f"  not known   {setting}; passed over" for setting in settled.unknown),
        f"written to {out}",
    ]


def _statistics(mean: str | None, std: str | None) -> ImageStats | None:
    if mean is None and std is None:
        return None
    if mean is None or std is None:
        raise InputError(f"--{'std' if std is None else 'mean'}: is missing; give both --mean and --std")
    stats = image_statistics("--mean and --std", "what was given", _numbers(mean), _numbers(std))
    if max(stats.std) > 2:
        raise InputError(f"--std: {std} is of images in 0 to 255; divide both --mean and --std by 255")
    return stats


def _numbers(text: str) -> Any:
    """One number, or several between commas; the text itself where it is none."""
    try:
        values = [float(value) for value in text.split(",")]
    except ValueError:
        return text
    return values[0] if len(values) == 1 else values


def main(args: argparse.Namespace) -> None:
    """Convert or inspect, and print what was found."""
    if args.inspect:
        given = {"--out": args.out, "--name": args.name, "--overwrite": args.overwrite}
        given |= {"--position_rule": args.position_rule, "--activation": args.activation}
        given |= {"--mean": args.mean, "--std": args.std, "--under": args.under}
        if unused := [flag for flag, value in given.items() if value]:
            raise InputError(f"{unused[0]}: --inspect writes nothing; leave one of the two out")
        lines = inspect(hub.resolve(args.source), every=args.all)
    elif args.out is None:
        raise InputError("--out: no folder to write is named; give one, or --inspect SRC")
    elif args.all:
        raise InputError("--all: lists the tensors of --inspect; add that, or leave it out")
    else:
        lines = convert(
            args.source, Path(args.out), args.name, position_rule=args.position_rule, activation=args.activation,
            mean=args.mean, std=args.std, under=args.under, overwrite=args.overwrite,
        )  # fmt: skip
    print("\n".join(lines))


def parser() -> Parser:
    """The command line."""
    result = Parser(__doc__ or "")
    result.add_argument("source", metavar="SRC", help="folder, file or hub id")
    result.add_argument("--out", type=output_folder, metavar="DIR", help="folder to write")
    names = sorted(BACKBONES)
    found = f"the backbone it must be ({', '.join(names)}); else found from the shapes"
    result.add_argument("--name", choices=names, metavar="NAME", help=found)
    result.add_argument("--activation", choices=sorted(ACTIVATIONS), help="wins over what stands beside the weights")
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
