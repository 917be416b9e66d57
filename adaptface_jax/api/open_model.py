# SPDX-License-Identifier: Apache-2.0
"""Opening a model by run, folder, file or hub id."""

from __future__ import annotations

import argparse
import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jax.sharding import Mesh

from adaptface_jax.api.adapters import Adapters, Run
from adaptface_jax.api.arguments import named_in_python
from adaptface_jax.api.face_model import FaceModel
from adaptface_jax.cli.model_flags import DTYPES, FEATURES
from adaptface_jax.config.overrides import check_flag
from adaptface_jax.config.schema import BackboneConfig, Config
from adaptface_jax.core.errors import InputError
from adaptface_jax.core.progress import Phase
from adaptface_jax.core.text import shown
from adaptface_jax.data.pipeline import STORED_SIZE
from adaptface_jax.data.stored_size import AUTO, size_line, stored_size
from adaptface_jax.distributed.mesh import make_mesh
from adaptface_jax.models.specs import BACKBONES
from adaptface_jax.training.recognition.model import build_model, unadapted
from adaptface_jax.training.recognition.run import open_run, run_mesh
from adaptface_jax.training.run import RESULTS, RUN_FILE
from adaptface_jax.weights.loading import inspect_backbone

BEST, CLS = "best", "cls"


def open_model(
    source: str | os.PathLike[str],
    *,
    checkpoint: str | int = BEST,
    image_size: int | None = None,
    stored_size: int | None = None,
    feature: str = CLS,
    dtype: str | None = None,
    results: str | os.PathLike[str] | None = None,
    batch_size: int = 256,
    adapters: Run | Sequence[Run] = (),
) -> FaceModel:
    """Open a model.

    Args:
      source: the folder of a training run, or a bare frozen backbone: a converted folder, a weight file or folder in
        any published naming, a hub id, or "builtin" (the small packaged one). A run takes precedence over weights next
        to it.
      checkpoint: "best", "latest" or a step; of a run.
      image_size: input size in pixels of a backbone; None for its own (DINOv2: 224).
      stored_size: pixels that images are first resized to, for a backbone (a run has its own); None for image_size, or
        112 if that is smaller.
      feature: for a backbone, "cls" or "projected" (CLIP).
      dtype: "float32", "bfloat16" or "auto" (bfloat16 on an accelerator), to store and compute the frozen part in; None
        for a run's own, or "auto".
      results: where thresholds come from, a file of `evaluate --output`; None for the run's results.json.
      batch_size: images per forward pass, at most.
      adapters: further runs on the backbone of a run, at their best checkpoints, among which `embed` chooses for each
        image; they share its image sizes, head and kind of gates, while their ranks and targets may differ.

    Raises InputError if the source is none of these, or the other arguments do not fit it.

    >>> import adaptface_jax as af
    >>> af.open("builtin", image_size=28).embedding_dim
    128
    >>> af.open("builtin", adapters=["runs/exp003"])
    Traceback (most recent call last):
    adaptface_jax.core.errors.InputError: adapters: require a run, and builtin is not one
    >>> af.open("runs/2026/absent")
    Traceback (most recent call last):
    adaptface_jax.core.errors.InputError: runs/2026/absent: no such file or folder; expected ...
    """
    with named_in_python():
        if not isinstance(source, str | os.PathLike):
            raise InputError(f"source: is a {type(source).__name__}; expected a path, a hub id or 'builtin'")
        is_run = (Path(source) / RUN_FILE).is_file()
        wanted = Wanted(os.fspath(source), checkpoint, image_size, stored_size, feature, dtype, results, batch_size)
        if adapters and not is_run:
            raise InputError(f"adapters: require a run, and {shown(os.fspath(source))} is not one")
        keep_memory = False  # the process is the caller's
        if not is_run:
            return open_backbone(wanted, make_mesh(keep_memory=keep_memory))
        model = open_trained(wanted, keep_memory)
        if adapters:
            others = [adapters] if isinstance(adapters, str | os.PathLike) else adapters
            model.side_by_side = Adapters(model.model, wanted.source, others, model.mesh, batch_size)
        return model


def open_from_flags(args: argparse.Namespace, images: Sequence[Any] | None = None) -> FaceModel:
    """The model a command's flags (`cli.model_flags`) name; raises InputError as `open_model` does, naming flags.

    images: those the command works on, encoded or decoded; a backbone gets them at their own size (AUTO of
    `data.stored_size`); None: as `open_model`. Prints the size at which the model sees them.
    """
    results = getattr(args, "results", None)
    wanted = Wanted(
        args.run or args.backbone,
        args.checkpoint,
        args.image_size,
        args.stored_size,
        args.feature,
        args.dtype,
        results,
        args.batch_size,
    )
    with Phase("opening the model", brief=True):
        opened = open_trained(wanted) if args.run else open_backbone(wanted, make_mesh(), images)
    print(size_line(opened.stored_size, opened.model.recognizer.config.backbone.image_size), flush=True)
    return opened


@dataclasses.dataclass(frozen=True)
class Wanted:
    """The arguments of `open_model`."""

    source: str
    checkpoint: str | int
    image_size: int | None
    stored_size: int | None
    feature: str
    dtype: str | None
    results: str | os.PathLike[str] | None
    batch_size: int

    def __post_init__(self) -> None:
        for setting in ("eval.batch_size", "backbone.image_size", "data.stored_size"):
            name = setting.rpartition(".")[2]
            check_flag(f"--{name}", setting, getattr(self, name))
        for name, value, known in (("feature", self.feature, FEATURES), ("dtype", self.dtype, (None, *DTYPES))):
            if value not in known:
                raise InputError(f"--{name}: {value!r} is not known; expected one of {', '.join(filter(None, known))}")


def open_trained(wanted: Wanted, keep_memory: bool = True) -> FaceModel:
    """A run at a checkpoint. Raises InputError if there is none, and for arguments of a backbone."""
    feature = None if wanted.feature == CLS else wanted.feature
    given = {"image_size": wanted.image_size, "stored_size": wanted.stored_size, "feature": feature}
    if name := next((name for name, value in given.items() if value is not None), ""):
        raise InputError(f"--{name}: {shown(wanted.source)} is a run, which has its own; omit it")
    workdir = Path(wanted.source)
    mesh = run_mesh(workdir, keep_memory=keep_memory)
    model, step = open_run(workdir, str(wanted.checkpoint), mesh, wanted.dtype)
    facts = {"run": wanted.source, "step": step, "backbone": model.identity}
    return FaceModel(model, mesh, facts, Path(wanted.results or workdir / RESULTS), wanted.batch_size)


def open_backbone(wanted: Wanted, mesh: Mesh, images: Sequence[Any] | None = None) -> FaceModel:
    """A backbone whose feature is the embedding. Raises InputError if there is none, and for arguments of a run.

    images: its future input, where known.
    """
    if wanted.checkpoint != BEST:
        raise InputError(f"--checkpoint: {shown(wanted.source)} is not a run, so it has none; omit it")
    name = inspect_backbone(wanted.source)
    size = wanted.image_size or BACKBONES[name].usual_size
    backbone = BackboneConfig(
        name=name, weights=wanted.source, image_size=size, dtype=wanted.dtype or "auto", feature=wanted.feature
    )
    model = build_model(unadapted(dataclasses.replace(Config(), backbone=backbone)), None, mesh)
    if wanted.stored_size is not None:
        stored = wanted.stored_size
    else:
        stored = max(STORED_SIZE, size) if images is None else stored_size(AUTO, size, images).pixels
    model = dataclasses.replace(model, stored_size=stored)
    results = None if wanted.results is None else Path(wanted.results)
    return FaceModel(model, mesh, {"backbone": model.identity, "image_size": size}, results, wanted.batch_size)
