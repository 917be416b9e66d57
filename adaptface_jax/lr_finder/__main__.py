"""Find a learning rate: a short training from a run's own initial values, with an increasing rate.

    adaptface lr_finder --config=celeba_cnn --out=runs/lr --config.data.path=/data/celeba
    adaptface lr_finder --config=lora --out=runs/lr --weight_decay=0,0.01,0.05 --config.data.train=/data/faces

Writes lr_finder.json, lr_finder.png and TensorBoard events; prints the rate of steepest descent for each weight decay.
The settings learning_rate, warmup_steps and schedule are not used. No run is changed.
"""

from __future__ import annotations

import argparse

from adaptface_jax.cli.command import run_command
from adaptface_jax.cli.outputs import output_folder
from adaptface_jax.cli.parser import Parser
from adaptface_jax.config.classification import ClassificationConfig
from adaptface_jax.config.schema import Config


def main(args: argparse.Namespace) -> None:
    """Check, sweep with each weight decay, write, and print the rate to use."""
    from adaptface_jax.lr_finder.work import work

    work(args)


def parser() -> Parser:
    """The command line."""
    result = Parser(__doc__ or "", settings=(Config, ClassificationConfig))
    result.add_argument("--out", type=output_folder, required=True, metavar="DIR", help="where the results go")
    result.add_argument("--from", type=float, default=1e-7, metavar="RATE", help="the first learning rate [1e-7]")
    result.add_argument("--to", type=float, default=1.0, metavar="RATE", help="the last one [1]")
    result.add_argument("--steps", type=int, default=100, metavar="N", help="training steps of a sweep [100]")
    result.add_argument("--weight_decay", metavar="A,B", help="a sweep with each of these [train.weight_decay]")
    return result


if __name__ == "__main__":
    run_command(main, parser())
