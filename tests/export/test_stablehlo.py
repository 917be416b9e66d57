# SPDX-License-Identifier: Apache-2.0
"""The StableHLO artifact: one file that plain JAX runs, with the embeddings of the recognizer."""

from __future__ import annotations

import json
import re

import jax
import numpy as np
import pytest
from jax import export

from adaptface_jax.core import trees
from adaptface_jax.core.errors import InputError
from adaptface_jax.export import graph as graphs
from adaptface_jax.export.graph import make_graph
from adaptface_jax.export.stablehlo import exported, write_stablehlo
from tests import made_models as models

from .cases import BATCHES, CASES, STORED, TOLERANCE, bfloat16, expected, model


def load(folder):
    return export.deserialize(bytearray((folder / "model.stablehlo").read_bytes()))


@pytest.mark.parametrize(
    ("case", "preprocess"),
    [*((case, True) for case in CASES), ("dinov2 dalora frozen", False), ("clip dalora block", False)],
)
def test_the_artifact_gives_our_embeddings_at_any_batch_size(case, preprocess, tmp_path):
    write_stablehlo(model(case), tmp_path, preprocess=preprocess, input_size=STORED)
    artifact = load(tmp_path)
    assert artifact.platforms == ("cpu", "cuda")
    call = jax.jit(artifact.call)
    images, outputs = expected(case, preprocess)
    for batch in BATCHES:
        found = call(images[:batch])
        assert found.keys() == outputs.keys()
        for name, values in outputs.items():
            assert found[name].shape == (batch, values.shape[1]) and found[name].dtype == np.float32
            assert models.relative(found[name], values[:batch]) < TOLERANCE
        np.testing.assert_allclose(np.linalg.norm(found["embedding"], axis=1), 1, atol=1e-6)


def test_export_json_says_what_goes_in_and_comes_out(tmp_path):
    write_stablehlo(model("clip dalora block"), tmp_path, preprocess=True, input_size=STORED)
    assert {path.name for path in tmp_path.iterdir()} == {"model.stablehlo", "export.json", "README.md"}
    record = json.loads((tmp_path / "export.json").read_text())
    (given,) = record["inputs"]
    assert (given["name"], given["dtype"], given["shape"]) == ("images", "uint8", ["batch", STORED, STORED, 3])
    assert [(o["name"], o["shape"]) for o in record["outputs"]] == [
        ("embedding", ["batch", 16]),
        ("gates", ["batch", 3]),
    ]
    assert record["backbone"]["sha256"] == "0" * 64
    assert record["platforms"] == ["cpu", "cuda"]
    assert record["jax"] == jax.__version__
    assert "three weeks" in record["compatibility"]


def test_the_file_holds_the_parameters_once_and_no_class_centers(tmp_path):
    # Wide enough that the program itself is small compared with its parameters.
    settings = models.replace(models.config("lora"), "head", embedding_dim=8192)
    recognizer, frozen, trainable = models.build(settings, classes=1000)
    made = type(model("dinov2 lora"))(recognizer, frozen, trainable, model("dinov2 lora").identity)
    write_stablehlo(made, tmp_path, preprocess=False, input_size=STORED)
    parameters = trees.nbytes((frozen, {**trainable, "centers": np.zeros(0, np.float32)}))
    size = (tmp_path / "model.stablehlo").stat().st_size
    assert parameters < size < parameters + 200_000


# What the converter to ONNX does not know, or makes a graph of its own of; a batch of any size cannot be cut.
FOREIGN = r"(scan|while|cond)\[|platform_index|optimization_barrier|einsum|split\[axis=0 "


@pytest.mark.parametrize("preprocess", [True, False])
@pytest.mark.parametrize("case", ["dinov2 dalora frozen", "clip dalora block"])
def test_a_graph_without_loops_has_no_loop_and_no_branch_and_the_same_values(case, preprocess):
    """The form for other programs: unrolled blocks, the router's position known."""
    graph = make_graph(model(case), preprocess=preprocess, input_size=STORED, loops=False)
    images, outputs = expected(case, preprocess)
    assert not re.search(FOREIGN, str(jax.make_jaxpr(graph.function)(images)))
    for name, values in jax.jit(graph.function)(images).items():
        assert models.relative(values, outputs[name]) < TOLERANCE


def test_a_model_in_bfloat16_is_exported_in_float32():
    made = bfloat16(model("dinov2 lora"))
    graph = make_graph(made, preprocess=False, input_size=STORED)
    assert "bf16" not in exported(graph).mlir_module()


def test_a_model_too_large_for_the_format_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(graphs, "LARGEST", 1000)
    with pytest.raises(InputError, match=r"do not fit .* --format=merged"):
        write_stablehlo(model("dinov2 lora"), tmp_path / "out", preprocess=False, input_size=STORED)
    assert not (tmp_path / "out").exists()


def test_a_stored_size_below_one_is_refused(tmp_path):
    with pytest.raises(InputError, match="--input_size: 0 "):
        write_stablehlo(model("dinov2 lora"), tmp_path, preprocess=True, input_size=0)
