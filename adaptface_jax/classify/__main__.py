"""Train an image classifier from scratch, for face attributes or small images, or evaluate one.

    adaptface classify --config=celeba_cnn --workdir=runs/celeba --config.data.path=/data/celeba
    adaptface classify --config=tiny_imagenet_resnet --workdir=runs/tiny --config.data.path=/data/tiny-imagenet-200
    adaptface classify --evaluate=runs/celeba --split=test --output=celeba_test.json

Running the same command again resumes the run. The test split is used only when asked for.
"""

from __future__ import annotations

import argparse

from adaptface_jax.cli.command import run_command
from adaptface_jax.cli.outputs import output_file
from adaptface_jax.cli.parser import Parser
from adaptface_jax.cli.training_flags import add_training_flags
from adaptface_jax.config.classification import ClassificationConfig
from adaptface_jax.core.errors import InputError
from adaptface_jax.data.sources.part_words import WORDS


def main(args: argparse.Namespace) -> None:
    """Train or evaluate."""
    if args.evaluate is None and (args.config is None or args.workdir is None):
        raise InputError("--config and --workdir train a classifier, --evaluate=RUN evaluates one; give either")
    for flag in ("split", "checkpoint", "data", "output") if args.evaluate is None else ():
        if getattr(args, flag) is not None:
            raise InputError(f"--{flag}: belongs to --evaluate=RUN")
    for flag in () if args.evaluate is None else ("config", "workdir", "overfit_small"):
        if getattr(args, flag) is not None:
            raise InputError(f"--{flag}: belongs to training, not to --evaluate")
    from adaptface_jax.classify.work import work

    work(args)


def parser() -> Parser:
    """The command line."""
    result = Parser(__doc__ or "", settings=(ClassificationConfig,), config_required=False)
    add_training_flags(result, workdir_required=False)
    result.add_argument("--evaluate", metavar="RUN", help="evaluate a trained run instead of training one")
    result.add_argument("--split", choices=tuple(WORDS), help="of the run's data [test]")
    result.add_argument("--checkpoint", help="best, latest or a step of the run [best]")
    result.add_argument("--data", metavar="PATH", help="where the run's data is now, if it has moved")
    result.add_argument("--output", type=output_file, metavar="FILE.json", help="write the metrics here")
    return result


if __name__ == "__main__":
    run_command(main, parser())
