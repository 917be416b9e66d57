"""The ONNX file in ONNX Runtime (`make test-onnx`, which installs the extra)."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from adaptface_jax.core.errors import InputError
from adaptface_jax.export.onnx import OPSET, write_onnx
from tests import made_models as models

from .cases import BATCHES, CASES, STORED, TOLERANCE, expected, model


@pytest.mark.onnx
@pytest.mark.parametrize("preprocess", [True, False], ids=["stored images", "normalised images"])
@pytest.mark.parametrize("case", CASES)
def test_onnx_runtime_gives_our_embeddings_at_any_batch_size(case, preprocess, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("jax2onnx")
    write_onnx(model(case), tmp_path, preprocess=preprocess, input_size=STORED)
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    session = runtime.InferenceSession(tmp_path / "model.onnx", options)
    images, outputs = expected(case, preprocess)
    assert [output.name for output in session.get_outputs()] == list(outputs)
    for batch in BATCHES:
        found = session.run(None, {"images": images[:batch]})
        for values, (name, wanted) in zip(found, outputs.items(), strict=True):
            assert values.shape == (batch, wanted.shape[1]) and values.dtype == np.float32, name
            assert models.relative(values, wanted[:batch]) < TOLERANCE, name


@pytest.mark.onnx
def test_the_file_says_what_it_is(tmp_path):
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


@pytest.mark.onnx
def test_the_readme_runs_as_it_stands(tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("jax2onnx")
    write_onnx(model("clip dalora block"), tmp_path, preprocess=True, input_size=STORED)
    text = (tmp_path / "README.md").read_text()
    code = "\n".join(line[4:] for line in text.splitlines() if line.startswith("    "))
    monkeypatch.chdir(tmp_path)
    images, outputs = expected("clip dalora block", True)
    names = {"images": images}
    exec(code, names)
    for name, values in outputs.items():
        assert models.relative(names["result"][name], values) < TOLERANCE


@pytest.mark.parametrize("missing", ["jax2onnx", "onnx"])
def test_without_the_extra_one_line_says_how_to_install_it(missing, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(InputError, match=r"pip install 'adaptface_jax\[onnx\]'"):
        write_onnx(model("dinov2 lora"), tmp_path / "out", preprocess=False, input_size=STORED)
    assert not (tmp_path / "out").exists()
