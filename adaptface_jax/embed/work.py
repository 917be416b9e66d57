"""What `adaptface embed` does."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

from adaptface_jax.api.face_files import check_face_file, write_faces
from adaptface_jax.api.face_model import FaceModel
from adaptface_jax.api.faces import Faces
from adaptface_jax.api.open_model import open_from_flags
from adaptface_jax.core.files import disk_may_fill
from adaptface_jax.core.progress import Progress
from adaptface_jax.data.image_files import ImageFiles
from adaptface_jax.data.readable import Readable
from adaptface_jax.evaluation.embedding import Window


def work(args: argparse.Namespace) -> None:
    """List the images, open the model, embed, write the file atomically."""
    folder, out = Path(args.images), Path(args.out)
    images = ImageFiles(folder)
    names = [Path(path).relative_to(folder).as_posix() for path in images.paths]
    check_face_file(out, names)
    model = open_from_flags(args, images)
    readable = Readable(images, images.paths)
    with disk_may_fill(out.parent):
        write_faces(out, faces_of(model, readable, names), model.model.recognizer)
    number = len(images) - len(readable.unreadable)
    print(f"written: {out}, {number:,} embeddings of {model.embedding_dim} dimensions")
    for line in (*readable.lines(), *images.skipped_files.lines()):
        print(line)


def faces_of(model: FaceModel, images: Readable, names: Sequence[str]) -> Iterator[Faces]:
    """The faces of every image that can be read, one forward pass at a time; raises InputError if none can."""
    start = 0
    with Progress(len(names), label="embedding", unit="image") as progress:
        for found in model.embedder.batches(model.model.frozen, model.model.trainable, [Window(images)], flip=False):
            stop = start + len(found.embedding)
            read = images.read(start, stop)
            yield Faces.of(found.of(read), list(itertools.compress(names[start:stop], read)))
            progress.show(start := stop)
    images.check_some()
