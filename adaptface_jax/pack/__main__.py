"""Pack any training set into ArrayRecord shards: a few large files, random access, checksums.

    adaptface pack /data/casia-webface /data/casia-shards --shard_mb=256

SRC is anything that `data.train` takes. Images keep their encoded bytes; records keep order, labels and keys, so a run
on the shards sees the same batches as one on SRC. A labels.csv in SRC, or the table that --labels names, is packed too.
If killed at any moment, the same command resumes.
"""

from __future__ import annotations

import argparse

from adaptface_jax.cli.command import run_command
from adaptface_jax.cli.outputs import output_folder
from adaptface_jax.cli.parser import Parser
from adaptface_jax.core.flag_values import whole_number
from adaptface_jax.core.processors import cores


def main(args: argparse.Namespace) -> None:
    """Open the source, pack it, report the outcome."""
    from adaptface_jax.pack.work import work

    work(args)


def parser() -> Parser:
    """The command line."""
    result = Parser(__doc__ or "")
    result.add_argument("source", metavar="SRC", help="anything that data.train takes")
    result.add_argument(
        "folder",
        type=output_folder,
        metavar="DST",
        help="an empty folder, or one that the same command started to fill",
    )
    result.add_argument("--labels", default="", metavar="FILE", help="label table [SRC/labels.csv]")
    size = result.add_mutually_exclusive_group()
    size.add_argument("--shards", type=int, metavar="N", help="this many shards, with equal numbers of images")
    size.add_argument("--shard_mb", type=int, default=256, metavar="MB", help="size of each shard [%(default)s]")
    result.add_argument(
        "--processes",
        type=whole_number(),
        default=cores(),
        metavar="N",
        help="worker processes [one per core: %(default)s]",
    )
    return result


if __name__ == "__main__":
    run_command(main, parser())
