"""Name tables fit files exactly, report every difference at once, and map both ways bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptface_jax.core import trees
from adaptface_jax.core.errors import InputError
from adaptface_jax.models.specs import BACKBONES
from adaptface_jax.weights.names import engine
from adaptface_jax.weights.names.dialects import HF_CLIP, HF_CLIP_BARE, HF_DINOV2, HUB_DINOV2, TABLES
from adaptface_jax.weights.names.tables import Table, linear
from tests import made_towers
from tests.weights.file_shapes import file_shapes

TINY = made_towers.rows()
PAIRS = [(table, name) for table in TABLES for name, spec in TINY.items() if table.family == spec.family]
IDS = [f"{table.name}-{name}" for table, name in PAIRS]


def shapes_of(tensors):
    return {name: tensor.shape for name, tensor in tensors.items()}


def assert_same(tree, expected):
    tree, expected = trees.flatten(tree), trees.flatten(expected)
    assert tree.keys() == expected.keys()
    for path, leaf in expected.items():
        assert tree[path].dtype == np.float32
        np.testing.assert_array_equal(tree[path], leaf, err_msg=path)


@pytest.mark.parametrize(("table", "name"), PAIRS, ids=IDS)
def test_a_tree_goes_out_and_comes_back_bit_for_bit(table, name, made_tree):
    spec = BACKBONES[name]
    tree = made_tree(spec)
    if table.folded and spec.registers:
        tree["pos_embed"][:, 0] = 0
    tensors = engine.to_names(table, spec, tree)
    assert shapes_of(tensors) == file_shapes(table, spec)
    fit = engine.identify(shapes_of(tensors))
    assert (fit.table.name, fit.name, fit.spec) == (table.name, name, spec)
    assert sorted([*(tensor for tensor, _ in fit.places.values()), *fit.dropped]) == sorted(tensors)
    assert not any(tensors[dropped].any() for dropped in fit.dropped)
    assert_same(engine.to_tree(fit, tensors), tree)


@pytest.mark.parametrize("name", TINY)
def test_a_tree_by_its_own_paths(name, made_tree):
    spec = BACKBONES[name]
    leaves = trees.flatten(made_tree(spec))
    fit = engine.match(engine.tree_table(spec), name, shapes_of(leaves))
    assert_same(engine.to_tree(fit, leaves), trees.unflatten(leaves))


def test_known_but_unused_tensors_are_dropped_by_name():
    dinov2 = file_shapes(HF_DINOV2, BACKBONES["tiny_dinov2"])
    fit = engine.identify(dinov2)
    assert (fit.name, fit.dropped) == ("tiny_dinov2", ("embeddings.mask_token",))
    with pytest.raises(InputError, match=r"wrong shape \(1\): embeddings.mask_token \[2, 16\], expected \[1, 16\]"):
        engine.identify(dinov2 | {"embeddings.mask_token": (2, 16)})

    spec = BACKBONES["tiny_clip"]
    whole = {
        "logit_scale": (),
        "text_projection.weight": (24, 8),
        "text_model.encoder.layers.0.mlp.fc1.bias": (32,),
        "vision_model.embeddings.position_ids": (1, 26),
    }
    fit = engine.identify(file_shapes(HF_CLIP, spec) | whole)
    assert (fit.name, set(fit.dropped)) == ("tiny_clip", set(whole))


def test_clip_may_come_without_its_projection(made_tree):
    spec = BACKBONES["tiny_clip"]
    tensors = engine.to_names(HF_CLIP_BARE, spec, made_tree(spec))
    del tensors["visual_projection.weight"]
    fit = engine.identify(shapes_of(tensors))
    assert (fit.name, fit.spec.projection) == ("tiny_clip", None)
    assert "projection" not in engine.to_tree(fit, tensors)


@settings(max_examples=50, deadline=None)
@given(data=st.data())
def test_one_report_names_what_is_missing_extra_and_misshapen(data):
    table, name = data.draw(st.sampled_from(PAIRS))
    spec = BACKBONES[name]
    expected = file_shapes(table, spec)
    ends = ("projection.weight", "head.weight", "head.bias", "mask_token", "head.proj.weight", "head.proj.bias")
    ends += ("q_bias", "v_bias")
    required = sorted(
        name for name in expected if name != "proj" and not name.endswith(ends)
    )  # the rest may be missing
    names = data.draw(st.permutations(required))
    missing, misshapen = names[:2], names[2:5]
    extra = ["encoder.layer.99.norm1.weight", "surprise"]
    shapes = {tensor: shape for tensor, shape in expected.items() if tensor not in missing}
    shapes |= {tensor: (*shape[:-1], shape[-1] + 1) for tensor, shape in expected.items() if tensor in misshapen}
    shapes |= dict.fromkeys(extra, (7,))
    with pytest.raises(InputError, match=r"missing \(2\).*; extra \(2\).*; wrong shape \(3\)") as caught:
        engine.match(table, name, shapes, "file.safetensors")
    text = str(caught.value)
    assert text.startswith("file.safetensors: ")
    assert len(text.splitlines()) == 1
    for tensor in (*missing, *extra, *misshapen):
        assert tensor in text


def test_long_reports_are_cut_with_a_count():
    with pytest.raises(InputError, match=r"missing \(222\): .* and 216 more") as caught:
        engine.match(HF_DINOV2, "dinov2_vits14", {})
    assert len(str(caught.value)) < 2000


def test_the_nearest_layout_is_named():
    shapes = file_shapes(HF_CLIP, BACKBONES["tiny_clip"])
    del shapes["vision_model.pre_layrnorm.bias"]
    with pytest.raises(
        InputError, match=r"nearest is hf_clip as tiny_clip: missing \(1\): vision_model.pre_layrnorm.bias$"
    ):
        engine.identify(shapes)


def test_names_of_another_model_are_reported_as_unknown():
    with pytest.raises(InputError, match=r"none of its 2 tensor names is known \(bert.a, bert.b\)"):
        engine.identify({"bert.a": (1,), "bert.b": (2,)})


def test_two_names_for_one_place_do_not_fit():
    """A chunk's number, which says nothing about the block, never lets two tensors share a slot."""
    rows = linear("blocks.{c}.{i}.proj", "blocks/attn/proj")
    table = Table("chunked", "dinov2", "dinov2", rows, "bicubic", "bicubic", "gelu")
    spec = BACKBONES["tiny_dinov2"]
    shapes = {f"blocks.{chunk}.0.proj.weight": (spec.width, spec.width) for chunk in (0, 1)}
    with pytest.raises(InputError, match=r"extra \(1\): blocks.1.0.proj.weight"):
        engine.match(table, "tiny_dinov2", shapes)


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_rows_are_unambiguous(table):
    """Each place has one row and each row another name, for every known backbone of the family."""
    for spec in BACKBONES.values():
        if spec.family == table.family:
            paths = engine.tree_shapes(spec)
            rows = [row for row in table.rows if row.holds(spec)]
            places = [(row.path, row.part) for row in rows if row.path in paths]
            assert len(set(places)) == len(places)
            assert {path for path, _ in places} == set(paths)
            assert len({row.name for row in rows}) == len(rows)


def test_every_known_backbone_is_recognized_in_every_dialect():
    for table in TABLES:
        for name, spec in BACKBONES.items():
            if spec.family == table.family:
                fit = engine.identify(file_shapes(table, spec))
                assert (fit.table.name, fit.name) == (table.name, name)


@pytest.mark.parametrize("name", ["blocks.00.norm1.weight", "blocks.²0.norm1.weight", "blocks.+1.norm1.weight"])
def test_a_number_has_one_spelling(name):
    shapes = file_shapes(HUB_DINOV2, BACKBONES["tiny_dinov2"])
    shapes[name] = shapes.pop("blocks.0.norm1.weight")
    with pytest.raises(InputError, match=r"missing \(1\): blocks.0.norm1.weight; extra \(1\)"):
        engine.identify(shapes)
