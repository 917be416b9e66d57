"""Converts published DINOv2 and CLIP weights into a folder that `backbone.weights` accepts.

    python tools/convert_weights.py facebook/dinov2-small --out weights/dinov2_small
    python tools/convert_weights.py ./FOLDER --out DIR

SRC is a Hugging Face folder, a `.safetensors` file or a hub id. Nothing in it is executed; every tensor name is
accounted for; the folder says what it is in `backbone.json`. Exit status 2, and one line, where that fails.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from adaptface_jax import cli, trees
from adaptface_jax.errors import InputError
from adaptface_jax.specs import BACKBONES
from adaptface_jax.weights import folder, hub
from adaptface_jax.weights.hf_config import find_config
from adaptface_jax.weights.loading import read_weights


def convert(source: str, out: Path, name: str | None = None, *, overwrite: bool = False) -> list[str]:
    """Converts and returns the lines to print; raises InputError with nothing written."""
    folder.check_target(out, overwrite=overwrite)
    path = hub.resolve(source)
    if folder.is_converted(path):
        raise InputError(f"{source}: is a converted folder already; use it as backbone.weights")
    weights, fit = read_weights(path, source, name)
    folder.write_folder(weights, out, overwrite=overwrite)
    spec = weights.spec
    dropped = ", ".join(fit.dropped[:3]) + (", ..." if len(fit.dropped) > 3 else "") or "none"
    assumed = spec.family == "clip" and find_config(path) is None
    return [
        f"{weights.name} from {source} ({fit.table.name})",
        f"  tensors     {len(fit.places)} read, {len(fit.dropped)} of no use here ({dropped})",
        f"  parameters  {trees.count(weights.tree):,}",
        f"  sha256      {weights.sha256}",
        f"  positions   {weights.position_rule}, native grid {spec.native_grid} x {spec.native_grid}",
        f"  activation  {spec.activation}" + (" (assumed: no config.json beside the file)" if assumed else ""),
        f"  projection  {'none' if spec.projection is None else spec.projection}",
        f"written to {out}",
    ]


def main(flags: argparse.Namespace) -> None:
    print("\n".join(convert(flags.source, flags.out, flags.name, overwrite=flags.overwrite)))


if __name__ == "__main__":
    parser = cli.Parser(__doc__)
    parser.add_argument("source", metavar="SRC", help="local folder, .safetensors file or hub id")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write")
    parser.add_argument("--name", choices=sorted(BACKBONES), help="the backbone it must be; else found from the shapes")
    parser.add_argument("--overwrite", action="store_true", help="replace an older converted folder")
    cli.run(main, parser)
