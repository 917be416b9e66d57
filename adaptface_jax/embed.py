"""Embed a folder of images.

    adaptface embed --run=runs/exp003 --images=faces/ --out=faces.npz
    adaptface embed --run=runs/exp003 --images=faces/ --out=faces.parquet

The .npz file holds `embeddings` (float32 [N, E], raw: normalise to compare), `features` (before the head), `paths`
(relative to the folder) and, for DA-LoRA, `gates`; the .parquet file the columns `path`, `embedding`, `feature`,
`gates`, written as they are computed, for any number of images.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from adaptface_jax.api.face_files import check_face_file, write_faces
from adaptface_jax.api.open_model import open_from_flags
from adaptface_jax.cli.command import run_command
from adaptface_jax.cli.model_flags import add_model_flags
from adaptface_jax.cli.parser import Parser
from adaptface_jax.core.files import disk_may_fill
from adaptface_jax.data.image_files import ImageFiles


def main(args: argparse.Namespace) -> None:
    """List the images, open the model, embed, write the file whole."""
    folder, out = Path(args.images), Path(args.out)
    images = ImageFiles(folder)
    paths = images.paths
    names = [Path(path).relative_to(folder).as_posix() for path in paths]
    check_face_file(out, names)
    model = open_from_flags(args, images)
    with disk_may_fill(out.parent):
        write_faces(out, model.embed_batches(paths, flip=False, pad=True), names, model.model.recognizer)
    print(f"written: {out}, {len(paths):,} embeddings of {model.embedding_dim} dimensions")
    for line in images.passed_over.lines():
        print(line)


def parser() -> Parser:
    """The command line."""
    result = Parser(__doc__ or "")
    add_model_flags(result)
    result.add_argument("--images", required=True, metavar="FOLDER", help="JPEG, PNG, TIFF ... at any depth")
    result.add_argument("--out", required=True, metavar="FILE", help="the file to write, .npz or .parquet")
    return result


if __name__ == "__main__":
    run_command(main, parser())
