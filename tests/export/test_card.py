"""The model card: the hub's metadata of an export, and which metrics it may hold."""

from __future__ import annotations

import json

import pytest
from huggingface_hub import ModelCard
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptface_jax.evaluation.results import Results
from adaptface_jax.export.card import LIBRARIES, write_card
from adaptface_jax.export.metrics import Metrics, frozen_metrics, metrics_at
from adaptface_jax.training.recognition.facts import RunFacts
from tests.made_results import benchmark_result

PAGE = "# A title\n\nHow to run it.\n"
NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["C"], exclude_characters="|/"), min_size=1)
FRACTIONS = st.floats(0, 1)


@settings(max_examples=50)
@given(
    form=st.sampled_from(sorted(LIBRARIES)),
    measured=st.dictionaries(NAMES, st.builds(Metrics, FRACTIONS, FRACTIONS), max_size=4),
    base=st.none() | st.just("facebook/dinov2-small"),
)
def test_the_hub_reads_back_what_was_measured(form, measured, base, tmp_path_factory):
    folder = tmp_path_factory.mktemp("card")
    (folder / "README.md").write_text(PAGE)
    write_card(folder, form, backbone="dinov2_vits14", adapter="lora", base_model=base, metrics=measured)
    card = ModelCard.load(folder / "README.md")
    assert (card.data.library_name, card.data.base_model) == (LIBRARIES[form], base)
    assert {"face-recognition", "dinov2", "lora"} <= set(card.data.tags)
    assert card.text.strip().startswith(PAGE.strip())
    found = {(entry.dataset_name, entry.metric_type): entry.metric_value for entry in card.data.eval_results or []}
    kinds = (("accuracy", "accuracy"), ("roc_auc", "auc"))
    wanted = {(name, kind): getattr(entry, field) for name, entry in measured.items() for kind, field in kinds}
    assert found == pytest.approx(wanted, abs=1e-6)


@pytest.fixture
def run(tmp_path):
    """A run of 9 steps, evaluated at 5 and 9."""
    results = Results(
        {"lfw": benchmark_result(0.9)}, {"lfw": benchmark_result(0.7)}, run=RunFacts("demo", "", "lora", "", 9, 0)
    )
    (tmp_path / "results.json").write_text(results.to_json())
    lines = [
        {"step": 5, "train/loss": 3.0},
        {"step": 5, "eval/lfw/accuracy": 0.95, "eval/lfw/auc": 0.97, "eval/lfw/domain/pose/accuracy": 0.5},
        {"step": 9, "eval/lfw/accuracy": 0.1, "eval/lfw/auc": 0.1},
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path


def test_the_metrics_are_those_of_the_exported_checkpoint(run):
    assert metrics_at(run, 9) == {"lfw": Metrics(0.9, 0.9)}
    assert metrics_at(run, 5) == {"lfw": Metrics(0.95, 0.97)}
    assert metrics_at(run, 7) == {}
    assert frozen_metrics(run) == {"lfw": Metrics(0.7, 0.7)}
    assert metrics_at(run / "elsewhere", 9) == frozen_metrics(run / "elsewhere") == {}
