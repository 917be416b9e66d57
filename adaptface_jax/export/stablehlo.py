"""StableHLO through `jax.export`: one file that JAX runs without this package."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import jax
from jax import export

from adaptface_jax.core.files import write_text
from adaptface_jax.export.graph import INPUT, Graph, make_graph
from adaptface_jax.export.record import write_record
from adaptface_jax.training.recognition.model import Model

FILE = "model.stablehlo"
PLATFORMS = ("cpu", "cuda")
COMPATIBILITY = (
    "for this JAX release and those up to about three weeks later, not for older ones; not an archive: keep the run, "
    "or export it with --format=merged"
)
CODE = f"""model = jit(export.deserialize(bytearray((folder / "{FILE}").read_bytes())).call)
result = model({INPUT})"""


def write_stablehlo(model: Model, out: Path, *, preprocess: bool, input_size: int) -> list[str]:
    """Write `model.stablehlo`, `export.json` and `README.md` into the folder `out`; returns what was written, in words.

    The parameters are constants of the artifact. Its batch is symbolic and it runs on a CPU and on CUDA; inputs,
    outputs and errors as in `make_graph`.
    """
    graph = make_graph(model, preprocess=preprocess, input_size=input_size)
    artifact = exported(graph).serialize()
    out.mkdir(parents=True, exist_ok=True)
    (out / FILE).write_bytes(artifact)
    write_record(
        out,
        "stablehlo",
        model,
        **graph.describe(),
        image_stats=dataclasses.asdict(model.recognizer.spec.stats),
        platforms=PLATFORMS,
        jax=jax.__version__,
        compatibility=COMPATIBILITY,
    )
    remarks = f"Runs on {' and '.join(PLATFORMS)}, {COMPATIBILITY}."
    page = graph.page("Faces to embeddings, StableHLO", ["from jax import export, jit"], CODE, remarks, least=1)
    write_text(out / "README.md", page)
    return [f"{FILE}: {len(artifact) / 1e6:.1f} MB, {' and '.join(PLATFORMS)}, {COMPATIBILITY}"]


def exported(graph: Graph) -> export.Exported:
    """The traced and lowered function for every platform, its batch symbolic."""
    (batch,) = export.symbolic_shape("batch")
    images = jax.ShapeDtypeStruct((batch, *graph.shape), graph.dtype)
    return export.export(jax.jit(graph.function), platforms=PLATFORMS)(images)
