"""A DA-LoRA is compared with the plain LoRA of the same size, or its settings are shown."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil

import pytest

from adaptface_jax.config.schema import AdapterConfig, Config
from adaptface_jax.config.yardstick import is_yardstick, plain_adapter, typed
from adaptface_jax.models.adapters import lora, places
from adaptface_jax.models.specs import backbone_spec
from adaptface_jax.report import __main__ as report
from tests.running import call

GATED = Config(adapter=AdapterConfig(kind="dalora", rank=16, alpha=24.0, num_domains=4, router="frozen"))


@pytest.mark.parametrize("use_rslora", [False, True])
def test_the_plain_adapter_has_the_same_size_and_strength(use_rslora):
    gated = dataclasses.replace(GATED.adapter, use_rslora=use_rslora)
    plain = plain_adapter(gated)
    assert (plain.kind, plain.rank) == ("lora", 64)
    assert lora.scale(plain) == pytest.approx(lora.scale(gated))
    assert typed(plain)["adapter.alpha"] == ("48" if use_rslora else "96")
    assert plain_adapter(plain) is None


def test_patterns_of_the_plain_adapter_are_in_proportion():
    patterns = {"rank_pattern": {"attn.proj": 8}, "alpha_pattern": {"attn.qkv": 12.0}}
    gated = dataclasses.replace(GATED.adapter, shared_rank=4, **patterns)
    plain = plain_adapter(gated)
    assert (plain.rank, plain.rank_pattern, plain.alpha_pattern) == (68, {"attn.proj": 34}, {"attn.qkv": 51.0})
    assert typed(plain)["adapter.rank_pattern"] == "attn.proj=34"
    assert typed(plain)["adapter.alpha_pattern"] == "attn.qkv=51"
    spec = backbone_spec("demo")
    assert lora.count_parameters(spec, plain) == lora.count_parameters(spec, gated)
    for target, scales in places.scales(gated, spec.depth).items():
        assert places.scales(plain, spec.depth)[target] == pytest.approx(scales)


def test_only_what_a_plain_adapter_does_not_use_may_differ():
    plain = dataclasses.replace(GATED, adapter=dataclasses.replace(plain_adapter(GATED.adapter), router="block:2"))
    assert is_yardstick(plain, GATED) and not is_yardstick(GATED, GATED) and not is_yardstick(GATED, plain)
    assert not is_yardstick(dataclasses.replace(plain, seed=1), GATED)
    assert not is_yardstick(plain, dataclasses.replace(GATED, adapter=dataclasses.replace(GATED.adapter, rank=8)))


def test_the_page_over_several_runs_names_it(run, tmp_path):
    plain = tmp_path / "plain"
    shutil.copytree(run, plain)
    record = json.loads((plain / "run.json").read_text())
    adapter = record["config"]["adapter"]
    adapter |= {"kind": "lora", "rank": 3 * adapter["rank"], "alpha": 3 * adapter["alpha"]}
    (plain / "run.json").write_text(json.dumps(record))
    assert call(report, run, plain, f"--out={tmp_path / 'both'}") == 0
    page = re.sub(r"<[^>]+>", " ", (tmp_path / "both" / "index.html").read_text())
    assert "The gain from the gates" in page and re.search(
        r"plain → small\s+\+0\.00\s+AUC \+0\.00: too few people", page
    )

    assert call(report, run, f"--out={tmp_path / 'alone'}") == 0
    page = (tmp_path / "alone" / "index.html").read_text()
    words = f"--config.adapter.kind=lora --config.adapter.rank={adapter['rank']} --config.adapter.alpha="
    assert words in page
