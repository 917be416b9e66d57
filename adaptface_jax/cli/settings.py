"""The settings of a command line: a recipe or config file with the changes of `--config.a.b=value` and flags."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from adaptface_jax.cli.parser import named_paths
from adaptface_jax.config import overrides, recipes
from adaptface_jax.config.overrides import AnyConfig
from adaptface_jax.config.small_sample import overfit
from adaptface_jax.core.errors import InputError
from adaptface_jax.models.settings import checked


def read_settings(known: argparse.Namespace, kinds: Sequence[type[AnyConfig]]) -> AnyConfig:
    """The frozen settings of `known.recipe` with `known.changes`, and what the training flags change.

    kinds: those that the command takes. Raises InputError for any other, and for the first invalid setting.
    """
    config = recipes.load(known.recipe)
    kind = overrides.schema_of(config)
    if kind not in kinds:
        wanted = " or ".join(each().task for each in kinds)
        raise InputError(
            f"--config: {known.recipe} has the settings of {kind().task}; this command takes those of {wanted}"
        )
    for name, text in known.changes:
        overrides.apply(config, name, text)
    if getattr(known, "benchmark", None):
        if "benchmarks" not in config.data:
            raise InputError(f"--benchmark: belongs to face training, and these are settings of {config.task}")
        config.data.benchmarks = {}
        for name, path in named_paths(known.benchmark).items():
            overrides.apply(config, f"data.benchmarks.{name}", path)
    if getattr(known, "overfit_small", None):
        overfit(config, known.overfit_small)
    return checked(config)
