"""The flags that connect the processes of one run."""

from __future__ import annotations

import argparse

from adaptface_jax.core.flag_values import whole_number

JOIN_SECONDS = 60  # default time to wait for the others at the start


def add_process_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags for processes that no launcher connects."""
    group = parser.add_argument_group("several processes (detected automatically under SLURM, Open MPI and torchrun)")
    group.add_argument("--coordinator", metavar="HOST:PORT", help="address of process 0")
    group.add_argument("--num_processes", type=int, metavar="N", help="number of processes")
    group.add_argument("--process_id", type=int, metavar="I", help="index of this process, from 0")
    group.add_argument(
        "--join_timeout", type=whole_number(1_000_000, "seconds"), default=JOIN_SECONDS, metavar="S",
        help=f"seconds to wait for the others at the start [{JOIN_SECONDS}]",
    )  # fmt: skip
