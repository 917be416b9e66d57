# SPDX-License-Identifier: Apache-2.0
"""What a face training should not forget: images of the old domain, whose features stay those of the frozen model."""

from __future__ import annotations

from jax.sharding import Mesh

from adaptface_jax.config.schema import Config
from adaptface_jax.core.errors import InputError
from adaptface_jax.data.record import Source
from adaptface_jax.data.sources.from_path import open_form
from adaptface_jax.distributed.agreement import check_agreed


def open_keep(config: Config, mesh: Mesh) -> tuple[Source, int] | None:
    """The images of `data.keep`, and how many of them are added to each batch; None if none are named.

    Raises InputError if they cannot be opened, or cannot be split evenly.
    """
    if not config.data.keep:
        return None
    try:
        source = open_form(config.data.keep)
    except InputError as error:
        raise InputError(f"data.keep: {str(error).removeprefix('data.train: ')}") from None
    check_agreed("their sets of data.keep", {"images": len(source)})
    size, parts = config.train.keep_batch or config.train.batch_size, mesh.size * config.train.grad_accum
    if size % parts or size > len(source):
        raise InputError(
            f"train.keep_batch: {size} images with each batch; expected a multiple of {parts} (devices times "
            f"accumulated parts), at most the {len(source):,} of {source.description}"
        )
    return source, size


def keep_lines(config: Config, keep: tuple[Source, int] | None, trained: Source) -> list[str]:
    """What is kept, and at what cost. trained: the training set."""
    if not config.loss.keep_weight:
        return []
    weight = f"keep      the frozen model's feature, cosine distance times {config.loss.keep_weight:g}, on "
    if keep is not None:
        source, size = keep
        share = size / config.train.batch_size
        what = f"{size} images per step of {source.description} ({len(source):,})"
        return [f"{weight}{what}; a step costs {1 + share:.2g} times as much, besides the frozen model's features"]
    if config.adapter.null_expert and trained.domains is not None:
        return [f"{weight}the images of the last domain in each batch"]
    return [f"{weight}each batch itself"]
