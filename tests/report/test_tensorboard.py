"""What a real TensorBoard serves for a run, over its HTTP interface."""

from __future__ import annotations

import json
import re
import sys
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from adaptface_jax.evaluation.pair_scores import PairScores
from adaptface_jax.evaluation.tensorboard import pair_caption
from adaptface_jax.training.monitor import read_metrics
from tests.children import PATIENCE, started, until

Ask = Callable[..., Any]


@pytest.fixture(scope="module")
def ask(run) -> Iterator[Ask]:
    """ask("scalars/tags") -> the plugin's answer; a dictionary as `body` makes it a POST."""
    command = (sys.executable, "-m", "tensorboard.main", f"--logdir={run.parent}", "--port=0", "--host=127.0.0.1")
    with started(*command, "--load_fast=false") as server:
        address = until(lambda: re.search(r"http://127\.0\.0\.1:\d+/", server.error), server)[0]

        def ask(path: str, body: dict | None = None, **query: str) -> Any:
            url = f"{address}data/plugin/{path}?{urllib.parse.urlencode(query)}"
            data = None if body is None else json.dumps(body).encode()
            request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return json.load(answer)

        # The table of runs is written last: once it shows, everything is there.
        until(lambda: ask("hparams/experiment", {"hparamsLimit": 1000}).get("hparamInfos"), server)
        yield ask


def tags(ask: Ask, plugin: str, run: Path) -> set[str]:
    """The tags of one kind that the run has."""
    return set(ask(f"{plugin}/tags").get(run.name, {}))


def test_every_promised_scalar(ask, run):
    found = tags(ask, "scalars", run)
    parts = ("adapter", "head", "router", "centers")
    assert {
        "train/loss", "train/learning_rate", "train/margin", "train/target_cosine", "train/images_per_second",
        "train/data_wait", "train/grad_norm", "train/gate/entropy", "train/gate/balance",
        *(f"train/gate/mean_{k}" for k in range(3)),
        *(f"train/{norm}/{part}" for part in parts for norm in ("grad_norm", "param_norm")),
        *(f"eval/faces/{figure}" for figure in ("accuracy", "auc", "eer", "threshold", "gate/entropy")),
        *(f"eval/faces/{domain}/accuracy" for domain in ("pose", "age", "light")),
        "eval/faces/pose-light/auc",
        "eval/faces/gate/agreement",
    } <= found  # fmt: skip


def test_every_scalar_is_in_metrics_jsonl_too(ask, run):
    rows = read_metrics(run)
    kept = {tag.replace("frozen/", "eval/") for row in rows for tag in row} - {"step"}
    assert tags(ask, "scalars", run) == kept
    served = ask("scalars/scalars", tag="train/loss", run=run.name)
    kept = {row["step"]: row["train/loss"] for row in rows if "train/loss" in row}
    assert {step: value for _, step, value in served} == pytest.approx(kept)


def test_the_frozen_backbone_is_step_0_of_what_is_to_beat_it(ask, run):
    frozen = json.loads((run / "results.json").read_text())["frozen"]["faces"]
    for figure in ("accuracy", "auc"):
        (_, step, value), *course = ask("scalars/scalars", tag=f"eval/faces/{figure}", run=run.name)
        assert step == 0 and value == pytest.approx(frozen[figure])
        assert [step for _, step, _ in course] == [8, 16]


def test_the_custom_scalars_start_with_the_course_of_the_run(ask, run):
    first, *_ = parts = ask("custom_scalars/layout")["category"]
    assert [part["title"] for part in parts] == ["The run", "Training"]
    assert first["chart"][0]["title"] == "accuracy (step 0: the frozen backbone)"
    shown = {}
    for chart in (chart for part in parts for chart in part["chart"]):
        for pattern in chart["multiline"]["tag"]:
            found = ask("custom_scalars/scalars", tag=pattern, run=run.name)
            assert found["regex_valid"] and found["tag_to_events"], pattern
            shown.setdefault(chart["title"], set()).update(found["tag_to_events"])
    assert shown["accuracy (step 0: the frozen backbone)"] == {"eval/faces/accuracy"}
    assert shown["mean gate of each expert"] == {f"train/gate/mean_{k}" for k in range(3)}


def test_the_margin_is_that_of_the_loss(run):
    margins = [row["train/margin"] for row in read_metrics(run) if "train/margin" in row]
    assert margins == pytest.approx([0.35] * len(margins))


def test_distributions(ask, run):
    assert tags(ask, "histograms", run) == {
        "eval/faces/distance/genuine", "eval/faces/distance/impostor",
        *(f"eval/faces/gate/expert_{k}" for k in range(3)),
    }  # fmt: skip
    steps = {row["step"] for row in read_metrics(run) if "eval/faces/accuracy" in row}
    served = ask("histograms/histograms", tag="eval/faces/distance/genuine", run=run.name)
    assert {step for _, step, _ in served} == steps
    assert sum(count for _, _, count in served[-1][2]) == 30  # half of 60 pairs


def test_precision_over_recall(ask, run):
    assert tags(ask, "pr_curves", run) == {"eval/faces/pr"}
    (curves,) = ask("pr_curves/pr_curves", tag="eval/faces/pr", run=run.name).values()
    assert curves[-1]["recall"][0] == 1.0  # everything accepted
    assert curves[-1]["precision"][0] == pytest.approx(0.5)


def test_plots_and_misclassified_pairs(ask, run):
    found = tags(ask, "images", run)
    assert {"eval/roc", "eval/faces/distances"} <= found
    wrong = found & {"eval/faces/false_accepts", "eval/faces/false_rejects"}
    assert wrong
    kept = EventAccumulator(str(run), size_guidance={"images": 0}).Reload()
    for tag in wrong:
        (picture,) = kept.Images(tag)
        assert picture.width == 2 * 112 + 448, "two faces and their caption"


def test_a_pair_is_shown_with_its_distance_and_image_names():
    issame = np.array([True, False])
    scores = PairScores(np.array([1.25, 0.5]), issame, ~issame, np.arange(4, dtype=np.int32))
    names = ["faces/anna/1.jpg", "faces/bert/1.jpg"]
    assert pair_caption(scores, 0, names).split("\n") == [
        "squared distance 1.2500", "one person, not accepted", "anna/1.jpg", "bert/1.jpg"
    ]  # fmt: skip
    assert "two people, accepted" in pair_caption(scores, 1, names)


def test_texts(ask, run):
    assert set(ask("text/tags")[run.name]) == {"config/text_summary", "environment/text_summary"}
    (config,) = ask("text/text", tag="config/text_summary", run=run.name)
    (environment,) = ask("text/text", tag="environment/text_summary", run=run.name)
    assert "config.adapter.rank" in config["text"] and "<table>" in config["text"]
    assert "jax" in environment["text"] and "processor" in environment["text"]


def test_the_table_of_runs_has_settings_and_final_metrics(ask, run):
    experiment = ask("hparams/experiment", {"hparamsLimit": 1000})
    names = [setting["name"] for setting in experiment["hparamInfos"]]
    assert names[:5] == ["adapter.kind", "adapter.rank", "loss.margin", "loss.name", "train.learning_rate"]
    told = [metric["name"]["tag"] for metric in experiment["metricInfos"]]
    assert told[:2] == ["eval/faces/accuracy", "eval/faces/auc"] and len(told) == len(set(told))
    metrics = [{"group": "", "tag": tag} for tag in ("eval/faces/accuracy", "eval/faces/auc")]
    wanted = {
        "startIndex": 0, "sliceSize": 10, "allowedStatuses": ["STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_RUNNING"],
        "colParams": [{"metric": {"tag": metric["tag"], "group": ""}} for metric in metrics],
    }  # fmt: skip
    groups = ask("hparams/session_groups", wanted)["sessionGroups"]
    (row,) = groups
    assert row["hparams"]["adapter.rank"] == 2
    results = json.loads((run / "results.json").read_text())
    values = {metric["name"]["tag"]: metric["value"] for metric in row["metricValues"]}
    assert values["eval/faces/accuracy"] == pytest.approx(results["benchmarks"]["faces"]["accuracy"])


def test_the_projector_has_the_faces(ask, run):
    (found,) = ask("projector/info", run=run.name)["embeddings"]
    assert found["tensorName"].startswith("faces")
    assert found["tensorShape"][1] == 512
    assert found["sprite"]["imagePath"].endswith("sprite.png")
