"""Patterns of rank and alpha to PEFT and back: initialization keeps those of its folder."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from adaptface_jax.core.errors import InputError
from adaptface_jax.models.adapters import lora, places
from adaptface_jax.models.specs import BACKBONES
from adaptface_jax.training.recognition.run import as_begun
from adaptface_jax.weights.peft.adopt import adopted
from adaptface_jax.weights.peft.start import folders_of, start_from
from tests import made_models as models
from tests.export.adapters import CLIP, DINOV2, assert_same_update, config, export, fresh

SPECS = {"tiny_reg4": DINOV2, "tiny_clip": CLIP}  # of two blocks
MODULES = {
    "v5": {"q": ["attention.q_proj"], "v": ["attention.v_proj"], "proj": ["attention.o_proj"], "fc2": ["mlp.fc2"],
           "qkv": [f"attention.{x}_proj" for x in "qkv"]},
    "v4": {"q": ["attention.attention.query"], "v": ["attention.attention.value"], "proj": ["attention.output.dense"],
           "fc2": ["mlp.fc2"], "qkv": [f"attention.attention.{x}" for x in ("query", "key", "value")]},
}  # fmt: skip


@pytest.fixture(autouse=True)
def rows(monkeypatch):
    for name, spec in SPECS.items():
        monkeypatch.setitem(BACKBONES, name, spec)


def named(name: str, *args, **changes):
    return models.replace(config(*args, **changes), "backbone", name=name)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_patterns_come_out_as_peft_reads_them_and_in_again_as_they_were(data, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp() / "patterns"
    name, layout = data.draw(st.sampled_from([("tiny_reg4", "v5"), ("tiny_reg4", "v4"), ("tiny_clip", "v5")]))
    spec = SPECS[name]
    ends = {"qkv": "attn.qkv", "q": "attn.q", "v": "attn.v", "proj": "attn.proj", "fc2": "mlp.fc2"}
    targets = data.draw(st.sampled_from([("q", "v", "proj"), ("qkv", "fc2"), ("proj", "fc2")]))
    end = st.sampled_from([ends[target] for target in targets])
    key = end | st.builds("blocks.{}.{}".format, st.integers(0, 1), end)
    kind, shared = data.draw(st.sampled_from([("lora", 0), ("dalora", 0), ("dalora", 2)]))
    wanted = named(
        name,
        kind,
        rank=2,
        alpha=data.draw(st.sampled_from([4.0, 0.7])),
        targets=targets,
        use_rslora=data.draw(st.booleans()),
        shared_rank=shared,
        rank_pattern=data.draw(st.dictionaries(key, st.integers(1, 4), max_size=3)),
        alpha_pattern=data.draw(st.dictionaries(key, st.sampled_from([1.0, 4.0, 9.0]), max_size=3)),
        **({"blocks": data.draw(st.sampled_from([(0,), (1,)]))} if data.draw(st.booleans()) else {}),
    )
    shutil.rmtree(folder, ignore_errors=True)
    held = {int(rank) for of_target in places.ranks(wanted.adapter, 2).values() for rank in of_target if rank}
    assume(len(held) > 1 or max(held) <= 2)  # if all have one rank the folder has no pattern: adapter.rank is it
    tree = export(folder, wanted, spec, layout)

    for part, expert in folders_of(wanted.adapter).items():
        found = json.loads((folder / part / "adapter_config.json").read_text())
        tensors = safetensors.numpy.load_file(folder / part / "adapter_model.safetensors")
        ranks, scales = places.ranks(wanted.adapter, 2), places.scales(wanted.adapter, 2)
        ratio = expert.settings.rank / wanted.adapter.rank
        count = 0
        for key_a, a in tensors.items():
            if ".lora_A" not in key_a:
                continue
            module = key_a.removeprefix("base_model.model.").partition(".lora_A")[0]
            block = int(re.search(r"\.(\d)\.", module)[1])
            assert block in (found.get("layers_to_transform") or (0, 1))
            rank, alpha = (
                next((v for k, v in found[pattern].items() if re.match(rf"(.*\.)?({k})$", module)), found[default])
                for pattern, default in (("rank_pattern", "r"), ("alpha_pattern", "lora_alpha"))
            )
            assert rank == len(a)
            if name == "tiny_reg4":
                (target,) = (t for t in targets if module.endswith(tuple(MODULES[layout][t])))
                assert rank == ranks[target][block] * ratio
                scale = alpha / (rank**0.5 if wanted.adapter.use_rslora else rank)
                assert scale == pytest.approx(scales[target][block], rel=1e-12)
            count += 1
        if name == "tiny_reg4":
            blocks = len(places.adapted_blocks(wanted.adapter, 2))
            assert count == blocks * sum(len(MODULES[layout][target]) for target in targets)

    cleared = dataclasses.replace(wanted.adapter, init_from=str(folder), blocks=(), rank_pattern={}, alpha_pattern={})
    again = adopted(dataclasses.replace(wanted, adapter=cleared))
    assert_same_places(again, wanted, places.ranks)
    if len({alpha for found in places.alphas(wanted.adapter, 2).values() for alpha in found if alpha}) > 1:
        assert_same_places(again, wanted, places.scales)  # likewise for one alpha: adapter.alpha is it
    started, _ = start_from(again, spec, fresh(again, spec))
    assert_same_update(updates(again, started, spec), updates(wanted, tree, spec))


def assert_same_places(ours, theirs, of) -> None:
    ours, theirs = of(ours.adapter, 2), of(theirs.adapter, 2)
    if len({value for found in theirs.values() for value in found if value}) > 1:
        for target, found in theirs.items():
            np.testing.assert_allclose(ours[target], found, rtol=1e-9)


def updates(wanted, tree, spec) -> dict:
    """What every expert adds to every layer: [L, in, out]."""
    applied, scale = lora.applied(tree["adapter"], spec, wanted.adapter)
    result = {}
    for part, expert in folders_of(wanted.adapter).items():
        for target, factor in applied.items():
            own = expert.columns
            result[f"{part} {target}"] = scale * np.float64(factor["a"][..., own]) @ np.float64(factor["b"][:, own])
    return result


def test_settings_take_precedence_over_the_folder(tmp_path):
    export(tmp_path, named("tiny_reg4", rank=2, rank_pattern={"attn.proj": 3}), DINOV2)
    uniform = named("tiny_reg4", folder=tmp_path, rank=4)
    assert adopted(uniform).adapter.rank_pattern == {"attn.qkv": 2, "attn.proj": 3}
    for own in ({"rank_pattern": {".*": 4}}, {"alpha_pattern": {"proj": 4.0}}):
        given_ = named("tiny_reg4", folder=tmp_path, rank=4, **own)
        assert adopted(given_) is given_
        start_from(given_, DINOV2, fresh(given_, DINOV2))
    low = named("tiny_reg4", folder=tmp_path, rank=4, rank_pattern={"blocks.1.attn.proj": 2})
    with pytest.raises(InputError, match=r"adapter.rank_pattern: gives blocks.1.attn.proj less than its rank 3.*omit"):
        start_from(low, DINOV2, fresh(low, DINOV2))
    without = named("tiny_reg4", folder=tmp_path, rank=4, blocks=(0,))
    with pytest.raises(InputError, match=r"adapter.blocks: 0 lacks block 1"):
        start_from(without, DINOV2, fresh(without, DINOV2))


def test_a_uniform_folder_leaves_the_settings_alone(tmp_path):
    export(tmp_path, named("tiny_reg4", rank=2, alpha=6.0), DINOV2)
    again = named("tiny_reg4", folder=tmp_path, rank=4)
    assert adopted(again) is again


def test_a_run_resumes_as_it_started(tmp_path):
    """Also one from a version that took no patterns from the folder."""
    now = named("tiny_reg4", folder=tmp_path)
    began = models.replace(now, "adapter", rank_pattern={"attn.proj": 3}, blocks=(1,))
    record = {"config": json.loads(json.dumps(dataclasses.asdict(began)))}
    assert as_begun(now, record) == began
    for name in ("rank_pattern", "alpha_pattern", "blocks"):
        del record["config"]["adapter"][name]
    assert as_begun(now, record) == now
    own = models.replace(now, "adapter", rank_pattern={"attn.proj": 2})
    assert as_begun(own, record) is own
