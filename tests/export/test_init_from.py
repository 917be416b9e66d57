# SPDX-License-Identifier: Apache-2.0
"""`adapter.init_from`: a PEFT folder becomes the first values of a run, exactly, or is refused in one line."""

from __future__ import annotations

import json

import jax
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptface_jax.config.schema import check
from adaptface_jax.core.errors import InputError
from adaptface_jax.data.sources.from_path import open_source
from adaptface_jax.distributed.mesh import make_mesh
from adaptface_jax.models.adapters import lora
from adaptface_jax.models.adapters.fuse import Piece, fuse
from adaptface_jax.models.specs import BACKBONES, BackboneSpec
from adaptface_jax.training.recognition.model import build_model
from adaptface_jax.training.recognition.run import make_record
from adaptface_jax.training.run import check_same, read_record, write_record
from adaptface_jax.weights.peft.start import start_from
from tests import made_models as models
from tests import made_runs as finished
from tests import made_weights as dialects
from tests.export.adapters import (
    ALL,
    DINOV2,
    assert_equal,
    assert_same_update,
    config,
    export,
    fresh,
    update,
)

# Into settings different from its own.


def retargeted(tmp_path, source: dict, wanted: dict, spec: BackboneSpec = DINOV2):
    given = config(**source)
    tree = export(tmp_path, given, spec)
    again = config(folder=tmp_path, **wanted)
    first = fresh(again, spec)
    started, _ = start_from(again, spec, first)
    for expert in range(lora.experts(again.adapter)):
        assert_same_update(update(again, started["adapter"], spec, expert), update(given, tree["adapter"], spec))
    return first, started


def test_spare_ranks_keep_fresh_a_and_zero_b(tmp_path):
    first, started = retargeted(tmp_path, {"rank": 2, "alpha": 6.0}, {"rank": 4, "alpha": 1.0})
    for name, factors in started["adapter"].items():
        np.testing.assert_array_equal(factors["a"][..., 2:], first["adapter"][name]["a"][..., 2:])
        assert not factors["b"][:, 2:].any() and factors["b"][:, :2].any()


def test_separate_q_k_v_need_three_times_the_rank_in_one_fused_layer(tmp_path):
    separate = {"targets": ("q", "k", "v", "proj"), "rank": 2, "alpha": 4.0}
    with pytest.raises(
        InputError,
        match=r"needs rank 6; set adapter.targets=q,k,v,proj adapter.rank=2, or adapter.rank=6 adapter.alpha=12$",
    ):
        retargeted(tmp_path, separate, {"rank": 4})
    retargeted(tmp_path, separate, {"rank": 6, "alpha": 12.0})


def test_two_of_them_need_twice_the_rank(tmp_path):
    retargeted(tmp_path, {"targets": ("q", "v"), "rank": 2, "use_rslora": True}, {"rank": 4, "use_rslora": True})


def test_a_fused_layer_comes_apart_at_its_rank(tmp_path):
    retargeted(tmp_path, {"rank": 3}, {"targets": ("q", "k", "v", "proj"), "rank": 3})


def test_targets_that_the_folder_lacks_start_fresh(tmp_path):
    first, started = retargeted(tmp_path, {"targets": ("proj",)}, {"targets": ("qkv", "proj")})
    assert_equal(started["adapter"]["qkv"], first["adapter"]["qkv"])


def test_every_expert_starts_from_a_plain_adapter(tmp_path):
    first, started = retargeted(tmp_path, {"rank": 2}, {"kind": "dalora", "rank": 3})
    assert_equal(started["router"], first["router"])


@settings(max_examples=40)
@given(data=st.data())
def test_fusing_is_exact_for_any_ranks_scales_and_slices(data):
    seed = data.draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    count = data.draw(st.integers(1, 3))
    chosen = data.draw(st.lists(st.integers(0, count - 1), min_size=1, unique=True))
    shared = rng.standard_normal((5, 2)).astype(np.float32)
    pieces, expected = [], np.zeros((5, 4 * count))
    ranks = 0
    for index in chosen:
        same = data.draw(st.booleans())
        a = shared if same else rng.standard_normal((5, data.draw(st.integers(1, 3)))).astype(np.float32)
        b = rng.standard_normal((a.shape[1], 4)).astype(np.float32)
        scale = data.draw(st.sampled_from([0.5, 1.0, 3.0]))
        ranks += 0 if same and any(piece.a is shared for piece in pieces) else a.shape[1]
        pieces.append(Piece((index, count), a, b, scale))
        expected[:, 4 * index : 4 * index + 4] = scale * a.astype(np.float64) @ b
    a, b = fuse(pieces, 4 * count, 2.0)
    assert a.shape[1] == ranks
    np.testing.assert_allclose(2.0 * a.astype(np.float64) @ b, expected, atol=1e-5)


def test_patterns_of_rank_and_alpha_are_honored(tmp_path):
    """One module at another rank and scale, as PEFT writes it."""
    given = config(rank=2, alpha=4.0, targets=("q", "proj"))
    export(tmp_path, given, DINOV2)
    file, path = tmp_path / "adapter_model.safetensors", tmp_path / "adapter_config.json"
    tensors = safetensors.numpy.load_file(file)
    name = "base_model.model.encoder.layer.1.attention.q_proj"
    rng = np.random.default_rng(1)
    a, b = rng.standard_normal((3, 16), np.float32), rng.standard_normal((16, 3), np.float32)
    tensors |= {f"{name}.lora_A.weight": a, f"{name}.lora_B.weight": b}
    safetensors.numpy.save_file(tensors, file)
    patterns = {"rank_pattern": {"1.attention.q_proj": 3}, "alpha_pattern": {"^encoder.layer.1.attention.q_proj": 9}}
    path.write_text(json.dumps(json.loads(path.read_text()) | patterns))
    again = config(folder=tmp_path, rank=4, alpha=4.0, targets=("q", "proj"))
    started, _ = start_from(again, DINOV2, fresh(again, DINOV2))
    found = update(again, started["adapter"], DINOV2)["qkv"][1, :, :16]
    np.testing.assert_allclose(found, 9 / 3 * a.T.astype(np.float64) @ b.T, atol=2e-5)


@pytest.mark.parametrize("prefix", ["dinov2.", "dinov2_with_registers."])
def test_an_adapter_of_a_model_around_the_tower_is_read(prefix, tmp_path):
    tree = export(tmp_path, config(), DINOV2)
    file = tmp_path / "adapter_model.safetensors"
    tensors = {
        k.replace("model.encoder", f"model.{prefix}encoder"): v for k, v in safetensors.numpy.load_file(file).items()
    }
    safetensors.numpy.save_file(tensors, file)
    again = config(folder=tmp_path)
    assert_equal(start_from(again, DINOV2, fresh(again, DINOV2))[0], tree)


def test_adapters_in_half_precision_are_read(tmp_path):
    tree = export(tmp_path, config(), DINOV2)
    file = tmp_path / "adapter_model.safetensors"
    dialects.save(file, safetensors.numpy.load_file(file), "F16")
    again = config(folder=tmp_path)
    started, _ = start_from(again, DINOV2, fresh(again, DINOV2))
    expected = tree["adapter"]["proj"]["b"].astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(started["adapter"]["proj"]["b"], expected)


# What does not fit this run.


@pytest.mark.parametrize(
    ("source", "wanted", "message"),
    [
        ({"targets": ALL}, {}, r"do not cover fc1.*set adapter.targets=qkv,proj,fc1"),
        ({"targets": ("q", "v")}, {"targets": ("q",)}, r"do not cover v.*set adapter.targets=q,v"),
        ({"targets": ("proj",), "rank": 5}, {"rank": 4}, r"too low for proj.*needs rank 5; set adapter.rank=5"),
        ({"patch": True}, {}, r"trained patch embedding; set backbone.train_patch_embed=True"),
        ({"kind": "dalora"}, {}, r"3 DA-LoRA experts; set adapter.kind=dalora adapter.num_domains=3.*domain_0"),
        ({"kind": "dalora"}, {"kind": "dalora", "num_domains": 2}, r"adapter.num_domains=3"),
        ({"kind": "dalora"}, {"kind": "dalora", "router": "frozen"}, r"uses 'block:1'"),
        ({"kind": "dalora", "router_input": "mean_std"}, {"kind": "dalora"}, r"set adapter.router_input to that"),
        ({}, {"alpha": 0.0}, r"adapter.alpha: 0"),
    ],
)
def test_what_does_not_fit_the_settings_says_which_to_use(source, wanted, message, tmp_path):
    export(tmp_path, config(**source), DINOV2)
    again = config(folder=tmp_path, **wanted)
    with pytest.raises(InputError, match=message) as caught:
        start_from(again, DINOV2, fresh(again, DINOV2))
    assert "\n" not in str(caught.value)


def test_a_head_of_another_width_is_skipped_and_reported(tmp_path):
    export(tmp_path, config(), DINOV2)
    again = models.replace(config(folder=tmp_path), "head", embedding_dim=8)
    first = fresh(again, DINOV2)
    started, start = start_from(again, DINOV2, first)
    assert_equal(started["head"], first["head"])
    assert "head is not used: it is [16, 16], ours [8, 16]" in start.content


# A run.


def test_a_run_starts_from_the_folder_and_remembers_it(tmp_path, monkeypatch):
    monkeypatch.setitem(BACKBONES, "tiny_reg4", DINOV2)
    finished.write_backbone(tmp_path / "published", DINOV2)
    wanted = config(folder=tmp_path / "peft", patch=True)
    wanted = models.replace(wanted, "backbone", name="tiny_reg4", weights=str(tmp_path / "published"), image_size=12)
    tree = export(tmp_path / "peft", config(patch=True), DINOV2)
    mesh = make_mesh(jax.devices()[:1])
    model = build_model(wanted, 4, mesh)
    assert_equal({k: v for k, v in model.trainable.items() if k != "centers"}, tree)

    source = open_source("synthetic:identities=4,images=2,seed=1")
    record = make_record(wanted, model, source)
    assert record["start"] == {"source": str(tmp_path / "peft"), "sha256": model.start.sha256}
    write_record(tmp_path / "run", record)
    export(tmp_path / "peft", config(patch=True, alpha=3.0), DINOV2)
    changed = make_record(wanted, build_model(wanted, 4, mesh), source)
    with pytest.raises(InputError, match=r"start\.sha256"):
        check_same(tmp_path / "run", read_record(tmp_path / "run"), changed)


@pytest.mark.parametrize("kind", ["none", "full"])
def test_without_an_adapter_there_is_nothing_to_start(kind):
    with pytest.raises(InputError, match=r"adapter.init_from: adapter.kind"):
        check(config(kind, folder="x"))


def test_a_path_that_is_not_a_folder_is_refused(tmp_path):
    again = config(folder=tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"adapter.init_from: .*nowhere is not a folder"):
        start_from(again, DINOV2, fresh(again, DINOV2))
