"""Every dialect against transformers, live: synthetic weights, written out in the dialect, in the project's own files.

torch hub and OpenAI publish torch files, so these are saved by torch here, and read without it.
"""

from __future__ import annotations

import functools
import runpy
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adaptface_jax.models import vit
from adaptface_jax.models.specs import BACKBONES
from adaptface_jax.weights.loading import load_backbone
from tests import made_models as models
from tests import made_weights as dialects

pytestmark = pytest.mark.peers
torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

MAKER = runpy.run_path(str(Path(__file__).resolve().parents[1] / "goldens" / "make_backbones.py"))
IMAGES = np.random.default_rng(7).standard_normal((2, 32, 32, 3)).astype(np.float32)


@pytest.fixture(autouse=True)
def tiny_rows(monkeypatch):
    for name, spec in dialects.TINY.items():
        monkeypatch.setitem(BACKBONES, name, spec)


@functools.cache
def peer(row, size):
    """(its tensors as transformers saves them, its features)."""
    model = MAKER["fill"](MAKER["tiny_models"]()[row], seed=5)
    tensors = {name: parameter.detach().numpy() for name, parameter in model.named_parameters()}
    return on_disk(tensors), MAKER["compute"](model, IMAGES[:, :size, :size])["feature"]


def on_disk(tensors):
    """Version-4 names, whatever version of transformers made the model."""
    result = {}
    for name, tensor in tensors.items():
        for part in ("query", "key", "value"):
            name = name.replace(f"attention.{part[0]}_proj", f"attention.attention.{part}")
        result[name.replace("attention.o_proj", "attention.output.dense").replace("down_proj", "weights_out")] = tensor
    for name in [name for name in result if "gate_proj" in name]:
        halves = [result.pop(name), result.pop(name.replace("gate_proj", "up_proj"))]
        result[name.replace("gate_proj", "weights_in")] = np.concatenate(halves)
    clip = any("self_attn" in name for name in result)
    return tensors if clip else result


def scripted(tensors):
    """A TorchScript module that holds the tensors under their names."""
    root = torch.nn.Module()
    for name, tensor in tensors.items():
        module = root
        *path, leaf = name.split(".")
        for part in path:
            if part not in module._modules:
                module.add_module(part, torch.nn.Module())
            module = module._modules[part]
        module.register_buffer(leaf, torch.from_numpy(np.array(tensor)))
    return torch.jit.script(root)


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
@pytest.mark.parametrize(("name", "row"), dialects.CASES, ids=[f"{name}-{row}" for name, row in dialects.CASES])
def test_features(tmp_path, name, row):
    hf, expected = peer(row, 20)
    tensors = dialects.dialect(name).of(hf)
    if name == "openai_clip under visual.":
        torch.jit.save(scripted(tensors), tmp_path / "ViT.pt")
    else:
        if row == "tiny_clip":
            dialects.write_settings(tmp_path, name, "quick_gelu")
        if name.startswith(("hub", "openai")):
            torch.save({key: torch.from_numpy(np.array(x)) for key, x in tensors.items()}, tmp_path / "weights.pth")
        else:
            dialects.save(tmp_path / "model.safetensors", tensors)
    backbone = load_backbone(str(tmp_path), row, 20)
    with jax.default_matmul_precision("highest"):
        images = jnp.asarray(IMAGES[:, :20, :20])
        features = models.forward(vit.definition(backbone.spec, 20)[0], backbone.params, images)
    assert models.relative(features.feature, expected) <= 1e-5


@pytest.mark.parametrize("wrapped", [{"teacher": {}}, {"state_dict": {}}])
def test_nested_checkpoints_are_read_by_their_dotted_names(tmp_path, wrapped):
    hf, expected = peer("tiny_reg4", 20)
    [key] = wrapped
    prefix = "backbone." if key == "teacher" else ""
    tensors = {prefix + name: torch.from_numpy(np.array(x)) for name, x in dialects.hub(hf).items()}
    torch.save({key: tensors}, tmp_path / "checkpoint.pth")
    backbone = load_backbone(str(tmp_path / "checkpoint.pth"), "tiny_reg4", 20)
    with jax.default_matmul_precision("highest"):
        images = jnp.asarray(IMAGES[:, :20, :20])
        features = models.forward(vit.definition(backbone.spec, 20)[0], backbone.params, images)
    assert models.relative(features.feature, expected) <= 1e-5
