"""Pack any training set into ArrayRecord shards: few large files, random access, checksums.

    adaptface pack /data/casia-webface /data/casia-shards --shard_mb=256

SRC is anything that `data.train` takes. Images keep their encoded bytes; records keep order, labels and keys, so a run
on the shards sees the batches of a run on SRC. A labels.csv in SRC, or the table that --labels names, is packed whole.
Killed at any moment, the same command goes on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from adaptface_jax.cli.command import run_command
from adaptface_jax.cli.parser import Parser
from adaptface_jax.core.errors import InputError
from adaptface_jax.core.progress import Progress
from adaptface_jax.core.text import shown
from adaptface_jax.data.packing import Limit, pack
from adaptface_jax.data.sources.from_path import open_source
from adaptface_jax.data.sources.labelled import labels_beside


def main(args: argparse.Namespace) -> None:
    """Open the source, pack it, say what came out."""
    for name in ("shards", "shard_mb"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise InputError(f"--{name}: {value} is out of range; expected at least 1")
    source = open_source(args.source, labels=args.labels or labels_beside(args.source))
    limit = Limit(shards=args.shards) if args.shards else Limit(megabytes=args.shard_mb)
    print(f"packing   {source.description}: {len(source):,} images, {source.num_classes:,} identities", flush=True)
    if source.table is not None:
        rows = int(source.table.listed.sum())
        print(f"labels    {', '.join(map(shown, source.table.columns))} of {rows:,} images ({source.table.place})")
    with Progress(len(source), label="packing", unit="image") as progress:
        packed = pack(source, Path(args.folder), limit, lambda done: progress.show(done, {}))
    kept = f", {packed.kept} of them kept from before" if packed.kept else ""
    print(
        f"written: {args.folder}, {packed.shards} shards{kept}, {packed.bytes / 2**20:,.1f} MB, every record read back"
    )
    for line in source.passed_over.lines():
        print(line)


def parser() -> Parser:
    """The command line."""
    result = Parser(__doc__ or "")
    result.add_argument("source", metavar="SRC", help="what data.train takes")
    result.add_argument("folder", metavar="DST", help="an empty folder, or one that the same command began to fill")
    result.add_argument("--labels", default="", metavar="FILE", help="labels of the images [labels.csv in SRC]")
    size = result.add_mutually_exclusive_group()
    size.add_argument("--shards", type=int, metavar="N", help="this many shards of equal counts")
    size.add_argument("--shard_mb", type=int, default=256, metavar="MB", help="size of a shard [256]")
    return result


if __name__ == "__main__":
    run_command(main, parser())
