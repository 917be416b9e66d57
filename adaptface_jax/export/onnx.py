"""ONNX through jax2onnx (extra `onnx`): one file for ONNX Runtime and everything else that reads ONNX."""

from __future__ import annotations

import dataclasses
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.files import write_text
from adaptface_jax.export.graph import INPUT, Graph, make_graph
from adaptface_jax.export.record import RECORD, write_record
from adaptface_jax.training.recognition.model import Model

FILE = "model.onnx"
OPSET = 20  # the first with Gelu; ONNX Runtime 1.17 and later


def write_onnx(model: Model, out: Path, *, preprocess: bool, input_size: int) -> list[str]:
    """Write `model.onnx`, `export.json` and `README.md` into the folder `out`; returns what was written, in words.

    The batch is symbolic; inputs, outputs and errors as in `make_graph`. `export.json` is also in the file's metadata,
    under `adaptface_jax`. Raises InputError if the extra is not installed.
    """
    graph = make_graph(model, preprocess=preprocess, input_size=input_size, loops=False)
    proto = convert(graph)
    out.mkdir(parents=True, exist_ok=True)
    write_record(
        out,
        "onnx",
        model,
        **graph.describe(),
        image_stats=dataclasses.asdict(model.recognizer.spec.stats),
        opset=OPSET,
        jax=jax.__version__,
    )
    entry = proto.metadata_props.add()
    entry.key, entry.value = "adaptface_jax", (out / RECORD).read_text(encoding="utf-8")
    (out / FILE).write_bytes(content := proto.SerializeToString())
    code = f"""session = onnxruntime.InferenceSession(folder / "{FILE}")
result = dict(zip({list(graph.outputs)}, session.run(None, {{"{INPUT}": {INPUT}}})))"""
    page = graph.page("Faces to embeddings, ONNX", ["import onnxruntime"], code, f"Opset {OPSET}.", least=0)
    write_text(out / "README.md", page)
    return [f"{FILE}: {len(content) / 1e6:.1f} MB, opset {OPSET}"]


def convert(graph: Graph) -> Any:
    """The checked `onnx.ModelProto` of a graph; raises InputError if the extra is not installed."""
    try:
        import jax2onnx
        import onnx
        import onnx_ir
        from onnx_ir.passes.common import DeduplicateHashedInitializersPass
    except ImportError:
        raise InputError(
            "--format=onnx: the converter is not installed; install it with: pip install 'adaptface_jax[onnx]'"
        ) from None
    with quiet():
        proto = jax2onnx.to_onnx(
            lambda images: tuple(graph.function(images).values()),
            [jax.ShapeDtypeStruct(("batch", *graph.shape), graph.dtype)],
            model_name="adaptface_jax",
            opset=OPSET,
            input_names=[INPUT],
            output_names=list(graph.outputs),
        )
        shared = onnx_ir.from_proto(proto)
        DeduplicateHashedInitializersPass()(shared)  # the router's own pass reads the same blocks
        proto = onnx_ir.to_proto(shared)
    onnx.checker.check_model(proto, full_check=True)
    return proto


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress the converter's notes on types that it leaves for ONNX to infer."""
    logger = logging.getLogger("onnx_ir")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
