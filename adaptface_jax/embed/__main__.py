"""Embed a folder of images.

    adaptface embed --run=runs/exp003 --images=faces/ --out=faces.npz
    adaptface embed --run=runs/exp003 --images=faces/ --out=faces.parquet

The .npz file holds `embeddings` (float32 [N, E], raw: normalize to compare), `features` (before the head), `paths`
(relative to the folder) and, for DA-LoRA, `gates`; the .parquet file the columns `path`, `embedding`, `feature`,
`gates`, written as they are computed, for any number of images. Images that cannot be read are skipped and listed.
"""

from __future__ import annotations

import argparse

from adaptface_jax.cli.command import run_command
from adaptface_jax.cli.model_flags import add_model_flags
from adaptface_jax.cli.outputs import output_file
from adaptface_jax.cli.parser import Parser


def main(args: argparse.Namespace) -> None:
    """List the images, open the model, embed, write the file atomically."""
    from adaptface_jax.embed.work import work

    work(args)


def parser() -> Parser:
    """The command line."""
    result = Parser(__doc__ or "")
    add_model_flags(result)
    result.add_argument("--images", required=True, metavar="FOLDER", help="JPEG, PNG, TIFF ... at any depth")
    result.add_argument(
        "--out", type=output_file, required=True, metavar="FILE", help="the file to write, .npz or .parquet"
    )
    return result


if __name__ == "__main__":
    run_command(main, parser())
