"""Embed a folder of images.

    python -m adaptface_jax.embed --run=runs/exp003 --images=faces/ --out=faces.npz

The file holds `embeddings` (float32 [N, E], raw: normalise to compare), `features` (before the head), `paths`
(relative to the folder) and, for DA-LoRA, `gates`.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np

from adaptface_jax.cli.command import run_command
from adaptface_jax.cli.model_flags import add_subject, open_subject
from adaptface_jax.cli.parser import Parser
from adaptface_jax.data.image_files import ImageFiles
from adaptface_jax.distributed.mesh import make_mesh
from adaptface_jax.evaluation.embedding import Embedder


def main(args: argparse.Namespace) -> None:
    """List the images, open the model, embed, write the file whole."""
    folder, out = Path(args.images), Path(args.out)
    images = ImageFiles(folder)
    mesh = make_mesh()
    model, _ = open_subject(args, mesh)
    embedder = Embedder(model.recognizer, mesh, args.batch_size)
    found = embedder(model.frozen, model.trainable, images, flip=False, keys=images.paths)
    arrays: dict[str, Any] = {
        "embeddings": found.embedding,
        "features": found.feature,
        "paths": np.array([Path(path).relative_to(folder).as_posix() for path in images.paths]),
    }
    if found.gate is not None:
        arrays["gates"] = found.gate
    out.parent.mkdir(parents=True, exist_ok=True)
    scratch = out.with_name(f".{out.name}.{os.getpid()}")
    with scratch.open("wb") as file:
        np.savez(file, **arrays)
    os.replace(scratch, out)
    print(f"written: {out}, {len(images):,} embeddings of {found.embedding.shape[1]} dimensions")


def parser() -> Parser:
    """The command line."""
    result = Parser(__doc__ or "")
    add_subject(result)
    result.add_argument("--images", required=True, metavar="FOLDER", help="JPEG, PNG, PGM ... at any depth")
    result.add_argument("--out", required=True, metavar="FILE.npz", help="the file to write")
    return result


if __name__ == "__main__":
    run_command(main, parser())
