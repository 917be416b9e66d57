"""`--format=merged`: plain Hugging Face weights that compute what the run computes."""

from __future__ import annotations

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from adaptface_jax.config.schema import BackboneConfig
from adaptface_jax.core import trees
from adaptface_jax.core.errors import InputError
from adaptface_jax.data.sources.from_path import open_source
from adaptface_jax.distributed.mesh import make_mesh
from adaptface_jax.export.merged import fold, write_merged
from adaptface_jax.export.mixing import choose_mix, parse_mix
from adaptface_jax.models.adapters import lora
from adaptface_jax.models.specs import BACKBONES
from adaptface_jax.training.recognition.model import Model, build_model
from adaptface_jax.weights.folder import read_folder, write_folder
from adaptface_jax.weights.loading import load_backbone, read_weights
from tests import made_models as models
from tests import made_runs as finished
from tests.made_weights import TINY

TOLERANCE = 1e-5
MESH = make_mesh(jax.devices()[:1])
SIZE = 12  # the tiny rows' grid is 5 x 5, the run's 3 x 3


@pytest.fixture(autouse=True)
def tiny_rows(monkeypatch):
    for name, spec in TINY.items():
        monkeypatch.setitem(BACKBONES, name, spec)


CASES = {
    "registers, patch embedding": ("tiny_reg4", "lora", {"targets": ("qkv", "proj", "fc1", "fc2")}, {}),
    "swiglu, q and v": ("tiny_swiglu", "lora", {"targets": ("q", "v", "fc1"), "use_rslora": True}, {}),
    "clip projected": ("tiny_clip", "lora", {}, {"feature": "projected"}),
    "full": ("tiny_dinov2", "full", {}, {}),
    "none": ("tiny_clip", "none", {}, {}),
}


def settings(name: str, kind: str, adapter: dict, backbone: dict, weights: str = ""):
    config = models.config(kind, **adapter)
    wanted = {"train_patch_embed": kind not in ("full", "none")} | backbone
    return dataclasses.replace(config, backbone=BackboneConfig(name, weights, SIZE, **wanted))


def embed(model: Model, images) -> np.ndarray:
    with jax.default_matmul_precision("highest"):
        function = jax.jit(lambda f, t, x: model.recognizer.embed(f, t, x).embedding)
        return np.asarray(function(model.frozen, model.trainable, images))


def images(batch: int = 3) -> jax.Array:
    return jnp.asarray(np.random.default_rng(3).standard_normal((batch, SIZE, SIZE, 3)), jnp.float32)


@pytest.fixture
def made(tmp_path):
    """made(case): a model on synthetic published weights, its trained values away from their initial ones."""

    def build(name, kind, adapter, backbone) -> Model:
        finished.write_backbone(tmp_path / "published", TINY[name])
        config = settings(name, kind, adapter, backbone, str(tmp_path / "published"))
        model = build_model(config, None, MESH)
        return dataclasses.replace(model, trainable=models.made(model.trainable, seed=1))

    return build


@pytest.mark.parametrize("case", CASES)
def test_our_own_loader_reads_the_export_back_at_the_runs_size(case, made, tmp_path):
    model = made(*CASES[case])
    write_merged(model, tmp_path)
    folded, backbone = fold(model), model.recognizer.config.backbone
    again = load_backbone(str(tmp_path), backbone.name, SIZE, feature=backbone.feature)
    assert again.spec.activation == model.recognizer.spec.activation
    assert trees.flatten(again.params).keys() == trees.flatten(folded.frozen["backbone"]).keys()
    for path, leaf in trees.flatten(again.params).items():
        np.testing.assert_array_equal(leaf, trees.flatten(folded.frozen["backbone"])[path], err_msg=path)
    head = safetensors.numpy.load_file(tmp_path / "head.safetensors")
    np.testing.assert_array_equal(head["weight"].T, model.trainable["head"]["kernel"])


@pytest.mark.parametrize("case", ["registers, patch embedding", "clip projected"])
def test_what_is_folded_embeds_as_the_run_does(case, made):
    model = made(*CASES[case])
    assert models.relative(embed(fold(model), images()), embed(model, images())) <= TOLERANCE


def test_the_folder_says_what_transformers_must_know(made, tmp_path):
    write_merged(made(*CASES["clip projected"]), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["architectures"] == ["CLIPVisionModelWithProjection"]
    assert (config["hidden_act"], config["layer_norm_eps"]) == ("quick_gelu", 1e-5)
    assert (config["image_size"], config["projection_dim"], config["intermediate_size"]) == (SIZE, 24, 64)
    processor = json.loads((tmp_path / "preprocessor_config.json").read_text())
    assert processor["size"] == {"height": SIZE, "width": SIZE} and processor["image_mean"][0] == 0.48145466
    record = json.loads((tmp_path / "export.json").read_text())
    assert record["format"] == "merged" and record["backbone"]["name"] == "tiny_clip"
    shapes = {k: v.shape for k, v in safetensors.numpy.load_file(tmp_path / "model.safetensors").items()}
    assert shapes["vision_model.embeddings.position_embedding.weight"] == (1 + 9, 16)
    assert shapes["visual_projection.weight"] == (24, 16)
    head = safetensors.numpy.load_file(tmp_path / "head.safetensors")
    assert {k: v.shape for k, v in head.items()} == {"weight": (16, 24), "bias": (16,)}


def test_without_a_head_there_is_no_head_file(made, tmp_path):
    model = made(*CASES["none"])
    config = models.replace(model.recognizer.config, "head", kind="none")
    bare = dataclasses.replace(model, recognizer=dataclasses.replace(model.recognizer, config=config), trainable={})
    lines = write_merged(bare, tmp_path)
    assert not (tmp_path / "head.safetensors").exists() and "head: none" in "\n".join(lines)
    assert "head.safetensors" not in (tmp_path / "README.md").read_text()


@pytest.mark.parametrize("rule", ["dinov2", "bicubic"])
def test_a_converted_folder_keeps_the_other_grid(made, tmp_path, rule):
    write_merged(made(*CASES["full"]), tmp_path / "published")
    found = read_weights(tmp_path / "published", "x", position_rule=rule).weights
    assert (found.spec.native_size, found.tree["pos_embed"].shape) == (SIZE, (1, 1 + 9, 16))
    write_folder(found, tmp_path / "converted")
    again = read_folder(tmp_path / "converted", "tiny_dinov2")
    assert again.spec == found.spec
    np.testing.assert_array_equal(again.tree["pos_embed"], found.tree["pos_embed"])
    assert load_backbone(str(tmp_path / "converted"), "tiny_dinov2", 20).params["pos_embed"].shape == (1, 26, 16)


DALORA = ("tiny_dinov2", "dalora", {"router": "block:1"}, {})


def test_a_constant_gate_merges_exactly(made):
    """With a router that gives every image the same weights nothing is lost, including the blocks before it."""
    model = made(*DALORA)
    mix = (0.7, 0.1, 0.2)
    router = jax.tree.map(jnp.zeros_like, model.trainable["router"])
    router["fc2"]["bias"] = jnp.log(jnp.asarray(mix))
    model = dataclasses.replace(model, trainable={**model.trainable, "router": router})
    assert models.relative(embed(fold(model, mix), images()), embed(model, images())) <= TOLERANCE


def test_a_mixture_by_blocks_is_the_sum_of_its_experts():
    rng = np.random.default_rng(0)
    a, b = (jnp.asarray(rng.standard_normal(shape), jnp.float32) for shape in ((2, 4, 6), (2, 6, 4)))
    mix = np.array([[1, 0, 0], [0.2, 0.3, 0.5]], np.float32)
    merged = lora.merge(
        {"blocks": {"attn": {"proj": {"kernel": jnp.zeros((2, 4, 4))}}}}, {"proj": {"a": a, "b": b}}, 2, mix
    )
    for block in range(2):
        experts = [np.asarray(a[block, :, 2 * k : 2 * k + 2] @ b[block, 2 * k : 2 * k + 2]) for k in range(3)]
        expected = 2 * sum(w * e for w, e in zip(mix[block], experts, strict=True))
        np.testing.assert_allclose(merged["blocks"]["attn"]["proj"]["kernel"][block], expected, atol=1e-5)


def test_the_mean_gates_of_a_data_set_are_the_mix_and_the_loss_is_reported(made):
    model = made("tiny_dinov2", "dalora", {"router": "frozen"}, {})
    mix, lines = choose_mix("mean", model, open_source("synthetic:identities=2,images=3,seed=1"), MESH)
    assert len(mix) == 3 and sum(mix) == pytest.approx(1) and min(mix) >= 0
    assert "per-image gates are lost" in lines[0] and "over 6 images of" in lines[1]
    cosine = float(lines[1].split("embedding ")[1].split(" on average")[0])
    assert 0.5 < cosine <= 1
    assert choose_mix("1,0,0", model, None, MESH)[0] == (1, 0, 0)


@pytest.mark.parametrize("text", ["1,0", "0.5,0.5,0.5", "1.5,-0.5,0", "a,b,c", "", "nan,0,1", "median"])
def test_what_is_not_a_mixture_is_refused(text):
    with pytest.raises(InputError, match="--mix"):
        parse_mix(text, 3)


def test_dalora_is_never_merged_unasked(made):
    model = made(*DALORA)
    with pytest.raises(InputError, match=r"weights its 3 experts per image.*--mix=mean --data"):
        choose_mix(None, model, None, MESH)
    with pytest.raises(InputError, match="--data=SOURCE"):
        choose_mix("mean", model, None, MESH)
    with pytest.raises(InputError, match=r"--mix: is for DA-LoRA.*adapter.kind=lora"):
        choose_mix("1", made(*CASES["clip projected"]), None, MESH)
