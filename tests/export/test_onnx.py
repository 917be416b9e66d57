# SPDX-License-Identifier: Apache-2.0
"""The ONNX file in ONNX Runtime (`make test-onnx`, which installs the extra)."""

from __future__ import annotations

import functools
import json
import sys

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from adaptface_jax.core import trees
from adaptface_jax.core.errors import InputError
from adaptface_jax.export.onnx import OPSET, write_onnx
from tests import made_models as models

from .cases import BATCHES, CASES, STORED, TOLERANCE, expected, model


@pytest.fixture(scope="module")
def sessions(tmp_path_factory):
    """sessions(case, preprocess): ONNX Runtime on that export, and the file."""
    runtime = pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("jax2onnx")
    options = runtime.SessionOptions()
    options.log_severity_level = 3

    @functools.cache
    def made(case: str, preprocess: bool):
        out = tmp_path_factory.mktemp("onnx")
        write_onnx(model(case), out, preprocess=preprocess, input_size=STORED)
        return runtime.InferenceSession(out / "model.onnx", options), onnx.load(out / "model.onnx")

    return made


@pytest.mark.onnx
@pytest.mark.parametrize("preprocess", [True, False], ids=["stored images", "normalized images"])
@pytest.mark.parametrize("case", CASES)
def test_onnx_runtime_gives_our_embeddings_at_any_batch_size(case, preprocess, sessions):
    session, proto = sessions(case, preprocess)
    # ONNX Runtime crashes on an Einsum over no rows, and a loop hides the graph from its optimizer.
    assert not {node.op_type for node in proto.graph.node} & {"Einsum", "Loop", "Scan", "If"}
    assert not proto.functions
    images, outputs = expected(case, preprocess)
    assert [output.name for output in session.get_outputs()] == list(outputs)
    for batch in (0, *BATCHES):
        found = session.run(None, {"images": images[:batch]})
        for values, (name, wanted) in zip(found, outputs.items(), strict=True):
            assert values.shape == (batch, wanted.shape[1]) and values.dtype == np.float32, name
            assert not batch or models.relative(values, wanted[:batch]) < TOLERANCE, name


@pytest.mark.onnx
@hypothesis.given(rows=st.lists(st.integers(0, max(BATCHES) - 1), max_size=6))
def test_a_face_is_embedded_alike_in_any_batch(rows, sessions):
    session, _ = sessions("clip dalora block", True)
    images, outputs = expected("clip dalora block", True)
    found = dict(zip(outputs, session.run(None, {"images": images[rows]}), strict=True))
    for name, wanted in outputs.items():
        np.testing.assert_allclose(found[name], wanted[rows], atol=TOLERANCE)


@pytest.mark.onnx
def test_weights_shared_with_the_router_are_in_the_file_once(sessions):
    _, proto = sessions("dinov2 dalora frozen", False)
    made = model("dinov2 dalora frozen")
    held = trees.nbytes((made.frozen, {name: tree for name, tree in made.trainable.items() if name != "centers"}))
    stored = sum(len(tensor.raw_data) for tensor in proto.graph.initializer)
    assert held <= stored < held + 2_000  # constants of the program


@pytest.mark.onnx
def test_the_file_describes_itself(tmp_path):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("jax2onnx")
    write_onnx(model("clip dalora block"), tmp_path, preprocess=True, input_size=STORED)
    assert {path.name for path in tmp_path.iterdir()} == {"model.onnx", "export.json", "README.md"}
    proto = onnx.load(tmp_path / "model.onnx")
    onnx.checker.check_model(proto, full_check=True)
    assert [(opset.domain, opset.version) for opset in proto.opset_import] == [("", OPSET)]
    record = json.loads((tmp_path / "export.json").read_text())
    assert {entry.key: json.loads(entry.value) for entry in proto.metadata_props} == {"adaptface_jax": record}
    assert record["backbone"]["sha256"] == "0" * 64
    shapes = {
        value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in [*proto.graph.input, *proto.graph.output]
    }
    assert shapes == {"images": ["batch", STORED, STORED, 3], "embedding": ["batch", 16], "gates": ["batch", 3]}


@pytest.mark.parametrize("missing", ["jax2onnx", "onnx"])
def test_without_the_extra_one_line_says_how_to_install_it(missing, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(InputError, match=r"pip install 'adaptface_jax\[onnx\]'"):
        write_onnx(model("dinov2 lora"), tmp_path / "out", preprocess=False, input_size=STORED)
    assert not (tmp_path / "out").exists()
