# SPDX-License-Identifier: Apache-2.0
"""What `adaptface convert` does."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from adaptface_jax.core import trees
from adaptface_jax.core.errors import InputError
from adaptface_jax.models.specs import ImageStats
from adaptface_jax.weights import folder, hub
from adaptface_jax.weights.inspection import inspect, statistics_line
from adaptface_jax.weights.loading import read_weights
from adaptface_jax.weights.names.differences import listed
from adaptface_jax.weights.names.tables import PROJECTS
from adaptface_jax.weights.sidecar.statistics import image_statistics


def convert(
    source: str,
    out: Path,
    name: str | None = None,
    *,
    position_rule: str | None = None,
    activation: str | None = None,
    mean: str | None = None,
    std: str | None = None,
    under: str | None = None,
    overwrite: bool = False,
) -> list[str]:
    """Converts and returns the lines to print; raises InputError with nothing written.

    mean, std: on a 0 to 1 scale, one number or three separated by commas.
    """
    statistics = _statistics(mean, std)
    folder.check_target(out, overwrite=overwrite)
    path = hub.resolve(source)
    if folder.is_converted(path):
        raise InputError(f"{source}: is already a converted folder; use it as backbone.weights")
    published = read_weights(path, source, name, position_rule, activation, statistics, under)
    weights, fit, settled = published.weights, published.fit, published.settled
    folder.write_folder(weights, out, overwrite=overwrite)
    spec = weights.spec
    return [
        f"{weights.name} from {source} ({fit.naming})",
        f"  tensors     {len(fit.places)} read, {len(fit.dropped)} set aside",
        *([f"  set aside   {listed(fit.aside)}"] if fit.aside else []),
        f"  parameters  {trees.count(weights.tree):,}",
        f"  sha256      {weights.sha256}",
        (
            f"  positions   {weights.position_rule}, native grid {spec.native_grid} x {spec.native_grid} "
            f"({'as requested' if position_rule else f'as in {PROJECTS[fit.table.project]}'})"
        ),
        f"  activation  {spec.activation} ({settled.activation_from})",
        f"  statistics  {statistics_line(spec)} ({settled.statistics_from})",
        *([f"  channels    {settled.channels}"] if settled.bgr else []),
        f"  projection  {'none' if spec.projection is None else spec.projection}",
        *(f"  unknown     {setting}; ignored" for setting in settled.unknown),
        f"written to {out}",
    ]


def _statistics(mean: str | None, std: str | None) -> ImageStats | None:
    if mean is None and std is None:
        return None
    if mean is None or std is None:
        raise InputError(f"--{'std' if std is None else 'mean'}: is missing; give both --mean and --std")
    stats = image_statistics("--mean and --std", "the given values", _numbers(mean), _numbers(std))
    if max(stats.std) > 2:
        raise InputError(f"--std: {std} is on a 0 to 255 scale; divide both --mean and --std by 255")
    return stats


def _numbers(text: str) -> Any:
    """One number, or several separated by commas; the text itself if it is neither."""
    try:
        values = [float(value) for value in text.split(",")]
    except ValueError:
        return text
    return values[0] if len(values) == 1 else values


def work(args: argparse.Namespace) -> None:
    """Convert or inspect, and print what was found."""
    if args.inspect:
        given = {"--out": args.out, "--name": args.name, "--overwrite": args.overwrite}
        given |= {"--position_rule": args.position_rule, "--activation": args.activation}
        given |= {"--mean": args.mean, "--std": args.std, "--under": args.under}
        if unused := [flag for flag, value in given.items() if value]:
            raise InputError(f"{unused[0]}: --inspect writes nothing; omit one of the two")
        lines = inspect(hub.resolve(args.source), every=args.all)
    elif args.out is None:
        raise InputError("--out: missing; name the folder to write, or use --inspect SRC")
    elif args.all:
        raise InputError("--all: lists the tensors of --inspect; add --inspect, or omit it")
    else:
        lines = convert(
            args.source, Path(args.out), args.name, position_rule=args.position_rule, activation=args.activation,
            mean=args.mean, std=args.std, under=args.under, overwrite=args.overwrite,
        )  # fmt: skip
    print("\n".join(lines))
