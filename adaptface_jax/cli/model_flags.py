"""Which model a command works on: a run's checkpoint, or a frozen backbone alone."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from jax.sharding import Mesh

from adaptface_jax.cli.parser import Parser
from adaptface_jax.config.schema import BackboneConfig, Config
from adaptface_jax.core.errors import InputError
from adaptface_jax.models.specs import BACKBONES
from adaptface_jax.training.model import Model, build_model, unadapted
from adaptface_jax.training.run import open_run
from adaptface_jax.weights.loading import inspect_backbone


def add_subject(parser: Parser, batch_size: int | None = None) -> None:
    """The flags that name a model; `batch_size` where the command knows it."""
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--run", metavar="WORKDIR", help="the folder of a training run")
    which.add_argument("--backbone", metavar="DIR", help="converted folder, local file, hub id or `builtin`")
    parser.add_argument("--checkpoint", default="best", help="best, latest or a step of the run [best]")
    parser.add_argument("--image_size", type=int, metavar="PX", help="input size of --backbone [224; demo 112]")
    parser.add_argument("--feature", choices=("cls", "projected"), default="cls", help="feature of --backbone [cls]")
    parser.add_argument("--dtype", choices=("auto", "float32", "bfloat16"), default="auto", help="of --backbone [auto]")
    if batch_size is None:
        parser.add_argument("--batch_size", type=int, default=256, help="images per forward pass [256]")
    else:
        parser.set_defaults(batch_size=batch_size)


def open_subject(args: argparse.Namespace, mesh: Mesh) -> tuple[Model, dict[str, Any]]:
    """The model, and what it is, for the output file."""
    if args.batch_size < 1:
        raise InputError(f"--batch_size: {args.batch_size} is out of range; expected at least 1")
    if args.run:
        model, step = open_run(Path(args.run), args.checkpoint, mesh)
        return model, {"run": args.run, "step": step, "backbone": model.identity}
    name = inspect_backbone(args.backbone)
    size = args.image_size or min(224, BACKBONES[name].native_size)
    backbone = BackboneConfig(name=name, weights=args.backbone, image_size=size, dtype=args.dtype, feature=args.feature)
    model = build_model(unadapted(dataclasses.replace(Config(), backbone=backbone)), None, mesh)
    return model, {"backbone": model.identity, "image_size": size}
