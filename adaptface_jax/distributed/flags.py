"""The flags that tell the processes of one run about each other."""

from __future__ import annotations

import argparse

from adaptface_jax.core.flag_values import whole_number

JOIN_SECONDS = 60  # how long the others are waited for at the start, unless told otherwise


def add_process_flags(parser: argparse.ArgumentParser) -> None:
    """The flags for processes that no launcher tells about each other."""
    group = parser.add_argument_group("several processes (found by themselves under SLURM, Open MPI and torchrun)")
    group.add_argument("--coordinator", metavar="HOST:PORT", help="where process 0 can be reached")
    group.add_argument("--num_processes", type=int, metavar="N", help="how many there are")
    group.add_argument("--process_id", type=int, metavar="I", help="which one this is, from 0")
    group.add_argument(
        "--join_timeout", type=whole_number(1_000_000, "seconds"), default=JOIN_SECONDS, metavar="S",
        help=f"how long the others are waited for at the start [{JOIN_SECONDS}]",
    )  # fmt: skip
