"""Verify two photographs: do they show the same person?

    adaptface verify --run=runs/exp003 anna.jpg somebody.jpg --far=1e-3
    adaptface verify --backbone=weights/dinov2_small anna.jpg somebody.jpg --threshold=1.2

Photographs of 112x112 pixels, or of the run's training size, are treated as aligned crops; all others need the extra
`align`, which finds the largest face and aligns it by five landmarks. They show one person if the squared distance
between their unit embeddings (0..4) is below a threshold: that of --far, as `calibrate` measured it on photographs of
this site or the run on its benchmark, or your own.
"""

from __future__ import annotations

import argparse

from adaptface_jax.cli.command import run_command
from adaptface_jax.cli.model_flags import add_model_flags
from adaptface_jax.cli.outputs import output_file
from adaptface_jax.cli.parser import Parser


def main(args: argparse.Namespace) -> None:
    """Check the threshold and the photographs, open the model, compare, print the outcome."""
    from adaptface_jax.verify.work import work

    work(args)


def parser() -> Parser:
    """The command line."""
    result = Parser(__doc__ or "")
    add_model_flags(result, batch_size=2)
    result.add_argument("first", metavar="A", help="a photograph or an aligned crop")
    result.add_argument("second", metavar="B", help="another")
    limit = result.add_mutually_exclusive_group()
    limit.add_argument("--far", type=float, help="decide at this false accept rate [the smallest measured]")
    limit.add_argument("--threshold", type=float, metavar="T", help="decide at this squared distance, 0..4")
    result.add_argument("--benchmark", metavar="NAME", help="whose threshold at --far [the first]")
    results = "thresholds that `calibrate` or `evaluate --output` wrote [the run's]"
    result.add_argument("--results", metavar="FILE", help=results)
    result.add_argument("--output", type=output_file, metavar="FILE.json", help="write the outcome here")
    return result


if __name__ == "__main__":
    run_command(main, parser())
