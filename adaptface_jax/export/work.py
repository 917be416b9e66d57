# SPDX-License-Identifier: Apache-2.0
"""What `adaptface export` does."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jax.sharding import Mesh

from adaptface_jax.config.overrides import check_flag
from adaptface_jax.core.errors import InputError
from adaptface_jax.core.files import check_folder, whole_folder
from adaptface_jax.data.sources.from_path import open_source
from adaptface_jax.data.stored_size import size_line
from adaptface_jax.distributed.mesh import make_mesh
from adaptface_jax.export.base import base_of_run, base_of_weights, write_base
from adaptface_jax.export.card import write_card
from adaptface_jax.export.example import write_face
from adaptface_jax.export.formats import FLAGS, FORMATS
from adaptface_jax.export.merged import write_merged
from adaptface_jax.export.metrics import Metrics, frozen_metrics, metrics_at
from adaptface_jax.export.mixing import choose_mix
from adaptface_jax.export.peft import write_peft
from adaptface_jax.export.push import check_repository, push
from adaptface_jax.export.record import RECORD, hub_id
from adaptface_jax.training.recognition.model import Model
from adaptface_jax.training.recognition.run import open_run, recognition_config
from adaptface_jax.training.run import required_record
from adaptface_jax.weights.peft.layouts import LAYOUTS


def merged(args: argparse.Namespace, model: Model, mesh: Mesh, out: Path) -> list[str]:
    refuse_null(model, "merged")
    source = None if args.data is None else open_source(args.data)
    mix, lost = choose_mix(args.mix, model, source, mesh)
    return [*write_merged(model, out, mix=mix), *lost]


def peft(args: argparse.Namespace, model: Model, mesh: Mesh, out: Path) -> list[str]:
    refuse_null(model, "peft")
    return write_peft(model, out, layout=args.layout or LAYOUTS[0], with_base=bool(args.with_base))


def refuse_null(model: Model, form: str) -> None:
    """Raise InputError if the frozen model is one of the experts, which neither weights nor PEFT can express."""
    if model.recognizer.config.adapter.null_expert:
        raise InputError(
            f"--format={form}: the run has adapter.null_expert, which routes some images to the frozen model; "
            "use --format=stablehlo or onnx"
        )


def stablehlo(args: argparse.Namespace, model: Model, mesh: Mesh, out: Path) -> list[str]:
    from adaptface_jax.export.stablehlo import write_stablehlo

    return write_stablehlo(model, out, preprocess=preprocesses(args), input_size=input_size(args, model))


def onnx(args: argparse.Namespace, model: Model, mesh: Mesh, out: Path) -> list[str]:
    from adaptface_jax.export.onnx import write_onnx  # needs the extra `onnx`

    return write_onnx(model, out, preprocess=preprocesses(args), input_size=input_size(args, model))


def base(args: argparse.Namespace, model: Model, mesh: Mesh, out: Path) -> list[str]:
    return write_base(base_of_run(model), out)


Writer = Callable[[argparse.Namespace, Model, Mesh, Path], list[str]]
WRITERS: dict[str, Writer] = dict(zip(FORMATS, (merged, peft, stablehlo, onnx, base), strict=True))


def preprocesses(args: argparse.Namespace) -> bool:
    """Whether resizing and normalization are part of the graph; by default they are."""
    return args.preprocess is not False


def input_size(args: argparse.Namespace, model: Model) -> int:
    """Pixels of the stored images that a graph with preprocessing takes: the run's own by default."""
    return model.stored_size if args.input_size is None else args.input_size


def check_flags(args: argparse.Namespace) -> None:
    """Raise InputError for a flag that the format does not use: nothing is ignored."""
    for flag, formats in FLAGS.items():
        if getattr(args, flag) is not None and args.format not in formats:
            raise InputError(f"--{flag}: belongs to --format={' and '.join(formats)}, not to {args.format}; omit it")
    if args.preprocess is False and args.input_size is not None:
        raise InputError("--input_size: without preprocessing the input has the run's image size; omit it")
    if args.image_size is not None and args.weights is None:
        raise InputError("--image_size: the base of a run has the run's own; omit it, or give --weights")
    check_flag("--input_size", "data.stored_size", args.input_size)
    check_flag("--image_size", "backbone.image_size", args.image_size)
    if args.checkpoint is not None and args.weights is not None:
        raise InputError(f"--checkpoint: {args.weights} is not a run, so it has none; omit it")


def write_run(args: argparse.Namespace, model: Model, step: int, mesh: Mesh, out: Path) -> list[str]:
    """The complete folder of a run; returns lines to print."""
    lines = WRITERS[args.format](args, model, mesh, out)
    adapter = model.recognizer.config.adapter.kind
    stored = recognition_config(Path(args.run), required_record(Path(args.run), "--run: ")).backbone.quantize
    if stored != "none":
        lines.append(f"weights: the backbone's own; the run and its metrics are of those quantized to {stored}")
    if args.format == "base":
        adapter, metrics = "none", frozen_metrics(Path(args.run))
    else:
        metrics = metrics_at(Path(args.run), step)
    if args.mix is not None or stored != "none":
        metrics = {}  # the run's are of other weights
    write_example(out, args.format, model.identity, None if adapter == "none" else adapter, metrics)
    known = ", ".join(metrics) or "no metrics: none were measured on what is exported"
    return [f"run: {args.run}, step {step:,}", *lines, f"model card: {known}"]


def write_example(
    out: Path, form: str, identity: Mapping[str, Any], adapter: str | None, metrics: Mapping[str, Metrics]
) -> None:
    """What every folder has besides its model: the face that its README reads, and the card at the top of the
    README."""
    write_face(out)
    write_card(
        out, form, backbone=identity["name"], adapter=adapter, base_model=hub_id(identity), metrics=metrics
    )  # fmt: skip


def work(args: argparse.Namespace) -> None:
    """Check everything, open the run in float32, write the folder atomically, describe it, push it to the hub if
    asked."""
    check_flags(args)
    if args.push_to_hub is not None:
        check_repository(args.push_to_hub)
    out = Path(args.out)
    target = {"overwrite": args.overwrite, "marker": RECORD, "what": "an export"}
    check_folder(out, **target)  # before opening the run, which takes time
    if args.weights is not None:
        found = base_of_weights(args.weights, args.image_size)
        with whole_folder(out, **target) as scratch:
            lines = [f"weights: {args.weights}", *write_base(found, scratch)]
            write_example(scratch, args.format, found.identity, None, {})
    else:
        mesh = make_mesh()
        model, step = open_run(Path(args.run), args.checkpoint or "best", mesh, "float32", quantize="none")
        with whole_folder(out, **target) as scratch:
            lines = write_run(args, model, step, mesh, scratch)
        lines.insert(1, size_line(model.stored_size, model.recognizer.config.backbone.image_size))
    print("\n".join([*lines, f"written: {out}"]), flush=True)
    if args.push_to_hub is not None:
        print(f"on the hub: {push(out, args.push_to_hub)}")
