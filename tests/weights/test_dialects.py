"""Every published dialect, written independently (tests/made_weights.py), loads and computes the goldens."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from adaptface_jax.core import trees
from adaptface_jax.core.errors import InputError
from adaptface_jax.models import vit
from adaptface_jax.models.positions import resize_positions
from adaptface_jax.models.specs import POSITION_RULES
from adaptface_jax.weights.formats.reader import open_weights
from adaptface_jax.weights.loading import load_backbone, read_weights
from adaptface_jax.weights.names import engine
from adaptface_jax.weights.names.dialects import TABLES
from tests import made_models as models
from tests import made_towers as towers
from tests import made_weights as dialects

CASES = [*dialects.CASES, *towers.CASES]
IDS = [f"{name}-{row}" for name, row in CASES]


@pytest.fixture
def written(goldens, tmp_path):
    """written(dialect, row, dtype, activation): the folder of a golden's weights in that dialect."""

    def write(name, row, dtype="F32", activation="quick_gelu"):
        golden = "tiny_clip_gelu" if row == "tiny_clip" and activation == "gelu" else row
        hf = safetensors.numpy.load_file(goldens / "backbones" / golden / "model.safetensors")
        folder = tmp_path / f"{golden}-{dtype}"
        folder.mkdir()
        dialects.save(folder / "model.safetensors", towers.dialect(name).of(hf), dtype)
        if row == "tiny_clip":
            dialects.write_settings(folder, name, activation)
        towers.write_settings(folder, name)
        return folder

    return write


def test_every_table_is_written_here():
    written = {towers.dialect(name).table for name, _ in CASES}
    assert sorted(table.name for table in TABLES) == sorted(written)


@pytest.mark.parametrize(("name", "row"), CASES, ids=IDS)
def test_features_are_those_of_transformers(goldens, written, name, row):
    size = towers.size(row)
    for activation in ("quick_gelu", "gelu") if row == "tiny_clip" else (towers.rows()[row].activation,):
        folder = written(name, row, activation=activation)
        assert engine.identify(open_weights(folder).shapes).naming == name
        backbone = load_backbone(str(folder), row, size)
        assert backbone.spec.activation == activation
        golden = goldens / "backbones" / (f"{row}_gelu" if (row, activation) == ("tiny_clip", "gelu") else row)
        with np.load(golden / "expected.npz") as expected, jax.default_matmul_precision("highest"):
            images = jnp.asarray(expected["images"][:, :size, :size])
            features = models.forward(vit.definition(backbone.spec, size)[0], backbone.params, images)
            assert models.relative(features.feature, expected[f"feature_{size}"]) <= 1e-5


@pytest.mark.parametrize("name", dialects.CLIPS)
def test_projected_features_too(goldens, written, name):
    backbone = load_backbone(str(written(name, "tiny_clip")), "tiny_clip", 20, feature="projected")
    with np.load(goldens / "backbones" / "tiny_clip" / "expected.npz") as expected:
        images = jnp.asarray(expected["images"][:, :20, :20])
        with jax.default_matmul_precision("highest"):
            features = models.forward(vit.definition(backbone.spec, 20)[0], backbone.params, images, True)
        assert models.relative(features.feature, expected["projected_20"]) <= 1e-5


@pytest.mark.parametrize(("name", "row"), CASES, ids=IDS)
def test_positions_follow_the_rule_of_the_source(written, name, row):
    folder = written(name, row)
    rule = towers.dialect(name).rules[row == "tiny_reg4"]
    native = load_backbone(str(folder), row, towers.size(row))
    assert native.identity["position_rule"] == rule
    for size in (12, 32) if "pos_embed" in native.params and row != "tiny_face" else ():
        first = int(native.spec.class_token)
        resized = resize_positions(native.params["pos_embed"], size // 4, POSITION_RULES[rule], first)
        np.testing.assert_array_equal(load_backbone(str(folder), row, size).params["pos_embed"], resized)


@pytest.mark.parametrize("dtype", ["F16", "BF16"])
@pytest.mark.parametrize(("name", "row"), CASES, ids=IDS)
def test_half_precision_is_read_to_the_last_bit(goldens, written, name, row, dtype):
    folder = written(name, row, dtype)
    tensors = open_weights(folder)
    assert set(tensors.dtypes.values()) == {dtype}
    hf = safetensors.numpy.load_file(goldens / "backbones" / row / "model.safetensors")
    exact = dialects.rounded(towers.dialect(name).of(hf), dtype)
    fit = engine.identify(tensors.shapes)
    found, expected = (trees.flatten(engine.to_tree(fit, source)) for source in (tensors, exact))
    for path, leaf in expected.items():
        np.testing.assert_array_equal(found[path], leaf, err_msg=path)


@pytest.mark.parametrize(("name", "row"), CASES, ids=IDS)
def test_out_and_in_again_changes_no_bit(written, name, row):
    tensors = open_weights(written(name, row))
    fit = engine.identify(tensors.shapes)
    tree = engine.to_tree(fit, tensors)
    again = {fit.prefix + key: x for key, x in engine.to_names(fit.table, fit.spec, tree).items()}
    for tensor in set(tensors) - set(fit.dropped):
        np.testing.assert_array_equal(again[tensor].view(np.uint32), tensors[tensor].view(np.uint32), err_msg=tensor)
    there = engine.identify({key: x.shape for key, x in again.items()})
    assert (there.table.name, there.spec) == (fit.table.name, fit.spec)
    for path, leaf in trees.flatten(engine.to_tree(there, again)).items():
        np.testing.assert_array_equal(leaf.view(np.uint32), trees.flatten(tree)[path].view(np.uint32), err_msg=path)


@settings(max_examples=60)
@given(data=st.data())
def test_one_report_names_the_dialect_and_all_that_differs(goldens, data):
    # A trunk in open_clip may also be read as timm's own under a longer prefix.
    name, row = data.draw(st.sampled_from([case for case in CASES if "in open_clip" not in case[0]]))
    hf = safetensors.numpy.load_file(goldens / "backbones" / row / "model.safetensors")
    written = towers.dialect(name)
    shapes = {tensor: x.shape for tensor, x in written.of(hf).items()}
    ends = ("mask_token", "head.weight", "head.bias", "visual_projection.weight", "head.proj.weight")
    ends += ("q_bias", "v_bias", "qkv.bias_mask", "periods", "num_batches_tracked")
    required = [x for x in shapes if x not in (*written.beside, f"{written.prefix}proj") and not x.endswith(ends)]
    missing, misshapen = data.draw(st.permutations(sorted(required)))[:2]
    # Without them it is closer to another backbone.
    assume(not missing.endswith(("register_tokens", "storage_tokens", "reg_token")))
    extra = written.prefix + data.draw(st.sampled_from(["surprise", "blocks.7.norm.weight", "encoder.layer.2.weight"]))
    del shapes[missing]
    shapes |= {misshapen: (*shapes[misshapen], 3), extra: (7,)}
    with pytest.raises(InputError) as caught:
        engine.identify(shapes, "FILE")
    text = str(caught.value)
    assume("is an unknown size" not in text)  # one that gives the width is missing, the other misshapen
    assert text.startswith(f"FILE: matches no known layout; the nearest is {name} as {row}: missing (1): {missing}; ")
    assert f"; extra (1): {extra} [7]; wrong shape (1): {misshapen} [" in text


def test_from_the_original_to_timm_the_position_of_cls_is_folded(goldens):
    hf = safetensors.numpy.load_file(goldens / "backbones" / "tiny_reg4" / "model.safetensors")
    hub, timm = (
        engine.identify({k: x.shape for k, x in y.items()}) for y in (dialects.hub(hf), dialects.timm_dinov2(hf))
    )
    out = engine.to_names(timm.table, hub.spec, engine.to_tree(hub, dialects.hub(hf)))
    for name, tensor in dialects.timm_dinov2(hf).items():
        np.testing.assert_array_equal(out[name], tensor, err_msg=name)


def test_without_a_mask_token_and_registers_a_file_is_timms(goldens):
    hf = safetensors.numpy.load_file(goldens / "backbones" / "tiny_dinov2" / "model.safetensors")
    shapes = {name: x.shape for name, x in dialects.hub(hf).items()}
    assert engine.identify(shapes).table.name == "hub_dinov2"
    del shapes["mask_token"]
    assert engine.identify(shapes).table.name == "timm_dinov2"


def test_a_head_that_is_not_a_projection_is_set_aside(goldens, written):
    folder = written("timm_clip", "tiny_clip")
    tensors = safetensors.numpy.load_file(folder / "model.safetensors")
    tensors["head.bias"][3] = 1e-3
    safetensors.numpy.save_file(tensors, folder / "model.safetensors")
    published = read_weights(folder, "x")
    assert published.weights.spec.projection is None and "projection" not in published.weights.tree
    assert set(published.fit.dropped) == {"head.weight", "head.bias"}
    for name in ("head.weight", "head.bias"):
        del tensors[name]
    safetensors.numpy.save_file(tensors, folder / "model.safetensors")
    assert read_weights(folder, "x").weights.spec.projection is None


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["F32", "F16", "BF16"])
def test_a_non_finite_weight_is_refused_by_name(written, goldens, value, dtype):
    folder = written("hub_dinov2", "tiny_dinov2", dtype)
    hf = safetensors.numpy.load_file(goldens / "backbones" / "tiny_dinov2" / "model.safetensors")
    tensors = dialects.hub(hf)
    tensors["blocks.1.mlp.fc2.weight"] = tensors["blocks.1.mlp.fc2.weight"].copy()
    tensors["blocks.1.mlp.fc2.weight"][2, 5] = value
    dialects.save(folder / "model.safetensors", tensors, dtype)
    with pytest.raises(InputError, match=r"blocks\.1\.mlp\.fc2\.weight contains NaN or infinity"):
        load_backbone(str(folder), "tiny_dinov2", 20)
