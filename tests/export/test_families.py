"""DINOv3, SigLIP and face ViTs are exported as graphs like the others; face ViTs as weights in InsightFace's names."""

from __future__ import annotations

import functools

import jax
import numpy as np
import pytest
from jax import export

from adaptface_jax.core import trees
from adaptface_jax.core.errors import InputError
from adaptface_jax.export.merged import fold, write_merged
from adaptface_jax.export.onnx import write_onnx
from adaptface_jax.export.peft import write_peft
from adaptface_jax.export.stablehlo import write_stablehlo
from adaptface_jax.models.specs import BACKBONES
from adaptface_jax.training.recognition.model import Model
from adaptface_jax.weights.formats.reader import open_weights
from adaptface_jax.weights.names import engine
from tests import made_models as models
from tests.models.test_families import SPECS, built

CASES = {"dinov3": ("lora", {}), "siglip": ("lora", {}), "face": ("dalora", {"router": "frozen"})}


@functools.cache
def model(family: str) -> Model:
    kind, more = CASES[family]
    identity = {"name": "tiny", "source": "owner/name", "sha256": "0" * 64, "position_rule": "bicubic"}
    return Model(*built(family, kind, **more), identity)


@functools.cache
def expected(family: str) -> np.ndarray:
    made = model(family)
    raw = jax.jit(lambda x: made.recognizer.embed(made.frozen, made.trainable, x).embedding)(models.images(5))
    return np.asarray(raw) / np.linalg.norm(raw, axis=1, keepdims=True)


@pytest.mark.parametrize("family", CASES)
def test_stablehlo_gives_our_embeddings(family, tmp_path):
    write_stablehlo(model(family), tmp_path, preprocess=False, input_size=models.SIZE)
    artifact = export.deserialize(bytearray((tmp_path / "model.stablehlo").read_bytes()))
    found = jax.jit(artifact.call)(models.images(5))["embedding"]
    assert models.relative(found, expected(family)) <= 1e-5


@pytest.mark.onnx
@pytest.mark.parametrize("family", CASES)
def test_onnx_runtime_gives_our_embeddings(family, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("jax2onnx")
    write_onnx(model(family), tmp_path, preprocess=False, input_size=models.SIZE)
    found, *_ = runtime.InferenceSession(tmp_path / "model.onnx").run(None, {"images": np.asarray(models.images(5))})
    assert models.relative(found, expected(family)) <= 1e-5


def test_merged_a_face_model_is_a_file_of_insightface_s(tmp_path, monkeypatch):
    """It is read back as such, and its script builds the model with these sizes."""
    monkeypatch.setitem(BACKBONES, "tiny_face", SPECS["face"])
    write_merged(model("face"), tmp_path, mix=(0.5, 0.25, 0.25))
    tensors = open_weights(tmp_path / "model.safetensors")
    fit = engine.identify(tensors.shapes)
    assert (fit.name, fit.table.name) == ("tiny_face", "insightface")
    folded = trees.flatten(fold(model("face"), (0.5, 0.25, 0.25)).frozen["backbone"])
    for path, leaf in trees.flatten(engine.to_tree(fit, tensors)).items():
        np.testing.assert_array_equal(leaf, folded[path], err_msg=path)
    page = (tmp_path / "README.md").read_text()
    assert "img_size=28, patch_size=13, num_classes=24, embed_dim=32" in page and "transformers" not in page
    assert not (tmp_path / "config.json").exists()


def test_peft_has_no_class_to_put_the_adapter_of_a_face_model_on(tmp_path):
    with pytest.raises(InputError, match=r"--format=peft: .* none for face ViTs; use --format=merged, onnx or stable"):
        write_peft(model("face"), tmp_path, layout="v5")
