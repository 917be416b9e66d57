"""Run a recipe with every combination of some settings' values, and rank the results.

    adaptface grid --config=lora --out=runs/grid --sweep train.learning_rate=1e-4,1e-3 --sweep adapter.rank=8,16
    adaptface grid --config=tiny_imagenet_resnet --out=runs/blocks --sweep "model.blocks=(2,2,2),(3,3,3)"
    adaptface grid --config=celeba_cnn --out=runs/search --sweep train.learning_rate=1e-5..1e-2 --trials=20

Each combination is a run of `adaptface train` or `classify` in its own folder under --out, named by its values; its
output is in its grid.log. The same command again resumes: what has finished is skipped, what was interrupted continues,
what failed is tried again. --trials draws that many combinations with Optuna (extra `optuna`). --yardstick adds what a
DA-LoRA of K experts of rank r has to beat, the LoRA of rank K r.

Exit status: 0 done, 1 some sub-runs failed, 2 wrong flags or settings, 75 stopped with the sub-runs saved.
"""

from __future__ import annotations

import argparse

from adaptface_jax.cli.command import run_command
from adaptface_jax.cli.outputs import output_folder
from adaptface_jax.cli.parser import Parser
from adaptface_jax.config.classification import ClassificationConfig
from adaptface_jax.config.schema import Config


def main(args: argparse.Namespace) -> None:
    """Check every combination; list them, or run them all and rank them."""
    from adaptface_jax.grid.work import work

    work(args)


def parser() -> Parser:
    """The command line."""
    result = Parser(__doc__ or "", settings=(Config, ClassificationConfig))
    result.add_argument(
        "--out", type=output_folder, required=True, metavar="DIR", help="the grid's folder; an existing grid is resumed"
    )
    result.add_argument(
        "--sweep", action="append", metavar="NAME=A,B", help="a setting and its values, or LOW..HIGH with --trials"
    )
    result.add_argument("--trials", type=int, metavar="N", help="draw N combinations with Optuna instead of all")
    result.add_argument(
        "--yardstick", action="store_true", help="for every DA-LoRA, also run the plain LoRA of the same size"
    )
    result.add_argument("--benchmark", action="append", metavar="NAME=PATH", help="faces: verify on this; repeatable")
    result.add_argument("--devices", type=int, metavar="N", help="sub-runs at a time, one per device [all; 1 on a CPU]")
    result.add_argument("--dry_run", action="store_true", help="check everything, list the sub-runs and stop")
    return result


if __name__ == "__main__":
    run_command(main, parser())
