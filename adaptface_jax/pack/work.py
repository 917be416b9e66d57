# SPDX-License-Identifier: Apache-2.0
"""What `adaptface pack` does."""

from __future__ import annotations

import argparse
from pathlib import Path

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.progress import Progress
from adaptface_jax.core.text import plural, shown
from adaptface_jax.data.packing import Limit, pack
from adaptface_jax.data.sources.from_path import open_source
from adaptface_jax.data.sources.labeled import labels_beside


def work(args: argparse.Namespace) -> None:
    """Open the source, pack it, report the outcome."""
    for name in ("shards", "shard_mb"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise InputError(f"--{name}: {value} is out of range; expected at least 1")
    source = open_source(args.source, labels=args.labels or labels_beside(args.source))
    limit = Limit(shards=args.shards) if args.shards else Limit(megabytes=args.shard_mb)
    print(
        f"packing   {source.description}: {plural(len(source), 'image')}, {plural(source.num_classes, 'identity')}",
        flush=True,
    )
    if source.table is not None:
        rows = plural(int(source.table.listed.sum()), "image")
        print(f"labels    {', '.join(map(shown, source.table.columns))} for {rows} ({source.table.place})")
    with Progress(len(source), label="packing", unit="image") as progress:
        packed = pack(source, Path(args.folder), limit, lambda done: progress.show(done, {}), args.processes)
    shards = plural(packed.shards, "shard") + (f" ({packed.kept} kept from before)" if packed.kept else "")
    print(f"written: {args.folder}, {shards}, {packed.bytes / 2**20:,.1f} MB, every record read back")
    for line in source.skipped_files.lines():
        print(line)
