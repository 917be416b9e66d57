# SPDX-License-Identifier: Apache-2.0
"""What a run wrote can be read back, by TensorBoard and line by line, and nothing is logged twice."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.figure import Figure
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from adaptface_jax.core.errors import RunError
from adaptface_jax.training.metric_log import device_memory
from adaptface_jax.training.monitor import Monitor, read_metrics
from tests.children import PATIENCE, one_device

HPARAM_TAGS = ("_hparams_/experiment", "_hparams_/session_start_info", "_hparams_/session_end_info")


def events(workdir) -> EventAccumulator:
    return EventAccumulator(str(workdir), size_guidance={"scalars": 0, "images": 0, "histograms": 0}).Reload()


def read_scalars(workdir, tag: str) -> dict[int, float]:
    found = events(workdir).Scalars(tag)
    assert len({event.step for event in found}) == len(found), "a step twice"
    return {event.step: event.value for event in found}


def write_losses(workdir, steps, resume_step: int, value: float = 1.0) -> None:
    with Monitor(workdir, resume_step) as monitor:
        for step in steps:
            monitor.scalars(step, {"train/loss": value})


def test_what_is_repeated_at_the_resumed_step_is_not_logged_twice(tmp_path):
    """An evaluation was logged, and the run killed before its score was saved."""
    with Monitor(tmp_path) as monitor:
        monitor.scalars(3, {"eval/lfw/auc": 0.25})
        monitor.scalars(6, {"train/loss": 2.0})
        monitor.scalars(6, {"eval/lfw/auc": 0.5})
    with Monitor(tmp_path, 7, again="eval/") as monitor:
        monitor.scalars(6, {"eval/lfw/auc": 0.5})
    with Monitor(tmp_path, 7):  # and after one that was saved
        pass
    rows = [{"step": 3, "eval/lfw/auc": 0.25}, {"step": 6, "train/loss": 2.0}, {"step": 6, "eval/lfw/auc": 0.5}]
    assert read_metrics(tmp_path) == rows


FILLED = """
import resource, sys
from adaptface_jax.training.monitor import Monitor
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    with Monitor(sys.argv[1]) as monitor:
        for step in range(1, 400):
            monitor.text("settings", "x" * 1000)
            monitor.scalars(step, {"train/loss": 1.0})
except OSError as error:
    print(step < 300, error)
"""


def test_events_that_cannot_be_written_end_the_run_and_hang_nothing(tmp_path):
    words = [sys.executable, "-c", FILLED, tmp_path]
    end = subprocess.run(words, env=one_device(), capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (end.returncode, end.stdout, end.stderr) == (0, f"True [Errno 27] File too large: '{tmp_path}'\n", "")


def test_a_call_is_one_line_and_one_event_a_tag(tmp_path):
    with Monitor(tmp_path / "run") as monitor:
        monitor.scalars(120, {"train/loss": np.float32(31.25), "train/learning_rate": 1e-4})
        monitor.scalars(121, {"eval/lfw/accuracy": 0.5})
    assert read_metrics(tmp_path / "run") == [
        {"step": 120, "train/loss": 31.25, "train/learning_rate": 1e-4},
        {"step": 121, "eval/lfw/accuracy": 0.5},
    ]
    assert read_scalars(tmp_path / "run", "train/loss") == {120: 31.25}
    assert read_scalars(tmp_path / "run", "eval/lfw/accuracy") == {121: 0.5}


def test_a_metric_may_have_another_tag_in_tensorboard(tmp_path):
    with Monitor(tmp_path) as monitor:
        monitor.scalars(0, {"frozen/lfw/auc": 0.5}, drawn=lambda tag: "eval/" + tag.removeprefix("frozen/"))
        monitor.scalars(9, {"eval/lfw/auc": 0.75})
    assert read_scalars(tmp_path, "eval/lfw/auc") == {0: 0.5, 9: 0.75}
    assert read_metrics(tmp_path) == [{"step": 0, "frozen/lfw/auc": 0.5}, {"step": 9, "eval/lfw/auc": 0.75}]


def test_a_line_can_be_read_while_the_run_continues(tmp_path):
    with Monitor(tmp_path) as monitor:
        monitor.scalars(1, {"train/loss": 2.0})
        assert read_metrics(tmp_path) == [{"step": 1, "train/loss": 2.0}]


def test_a_log_that_is_removed_meanwhile_ends_the_run(tmp_path):
    with Monitor(tmp_path) as monitor:
        monitor.scalars(1, {"train/loss": 2.5})
        (tmp_path / "metrics.jsonl").unlink()
        with pytest.raises(RunError, match=r"metrics.jsonl: was removed .*, so the run ends"):
            monitor.scalars(2, {"train/loss": 2.0})


def test_a_resumed_run_overwrites_what_the_interrupted_one_wrote_past_its_checkpoint(tmp_path):
    write_losses(tmp_path, range(1, 8), resume_step=0, value=1.0)
    write_losses(tmp_path, range(5, 10), resume_step=5, value=2.0)
    write_losses(tmp_path, range(7, 9), resume_step=7, value=3.0)
    expected = {1: 1, 2: 1, 3: 1, 4: 1, 5: 2, 6: 2, 7: 3, 8: 3}
    assert {line["step"]: line["train/loss"] for line in read_metrics(tmp_path)} == expected
    assert len(read_metrics(tmp_path)) == len(expected)
    assert read_scalars(tmp_path, "train/loss") == expected


def test_a_line_cut_short_by_a_crash_is_dropped(tmp_path):
    write_losses(tmp_path, [1, 2], resume_step=0)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 3, "train/lo')
    assert [line["step"] for line in read_metrics(tmp_path)] == [1, 2]
    write_losses(tmp_path, [3], resume_step=3)
    assert [line["step"] for line in read_metrics(tmp_path)] == [1, 2, 3]


def test_values_that_are_not_finite_leave_valid_json(tmp_path):
    with Monitor(tmp_path) as monitor:
        monitor.scalars(1, {"train/loss": math.nan, "train/grad_norm": math.inf, "train/learning_rate": 1e-4})
    (line,) = (tmp_path / "metrics.jsonl").read_text().splitlines()
    strict = json.loads(line, parse_constant=pytest.fail)
    assert strict == {"step": 1, "train/loss": None, "train/grad_norm": None, "train/learning_rate": 1e-4}
    assert math.isnan(read_scalars(tmp_path, "train/loss")[1])
    assert read_scalars(tmp_path, "train/grad_norm")[1] == math.inf


def test_texts_histograms_and_figures_reach_tensorboard(tmp_path):
    figure = Figure()
    figure.add_subplot().plot([0, 1], [0, 1])
    with Monitor(tmp_path) as monitor:
        monitor.text("config", "`adapter.rank` 16")
        monitor.histogram(3, "eval/made/gates", np.array([0.1, 0.2, np.nan, 0.9]))
        monitor.histogram(3, "eval/made/none", np.array([np.nan]))
        monitor.figure(3, "eval/made/roc", figure)
    found = events(tmp_path)
    (text,) = found.Tensors("config/text_summary")
    assert text.tensor_proto.string_val[0] == b"`adapter.rank` 16"
    (histogram,) = found.Histograms("eval/made/gates")
    assert histogram.histogram_value.num == 3
    (image,) = found.Images("eval/made/roc")
    assert image.step == 3
    assert found.Tags()["histograms"] == ["eval/made/gates"]


def test_settings_and_metrics_share_the_runs_own_events(tmp_path):
    with Monitor(tmp_path) as monitor:
        monitor.hparams({"adapter.rank": 16, "adapter.targets": ("q", "v"), "seed": None}, {"eval/lfw/accuracy": 0.9})
    kinds = {tag: events(tmp_path).SummaryMetadata(tag).plugin_data.plugin_name for tag in HPARAM_TAGS}
    assert set(kinds.values()) == {"hparams"}
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


def test_closing_twice_is_harmless(tmp_path):
    monitor = Monitor(tmp_path)
    monitor.close()
    monitor.close()


def test_precision_over_recall_and_images(tmp_path):
    truth = np.array([True, True, False, False])
    with Monitor(tmp_path) as monitor:
        monitor.pr_curve(3, "eval/made/pr", truth, np.array([0.9, 0.6, 0.7, 0.1]))
        monitor.picture(3, "eval/made/face", np.zeros((8, 16, 3), np.uint8))
    found = events(tmp_path)
    assert found.SummaryMetadata("eval/made/pr").plugin_data.plugin_name == "pr_curves"
    (image,) = found.Images("eval/made/face")
    assert (image.width, image.height) == (16, 8)


def test_the_projector_has_each_set_once_however_often_it_is_written(tmp_path):
    points = np.arange(12.0).reshape(4, 3)
    sets = {name: (points, list("abcd"), np.zeros((4, 8, 8, 3), np.uint8)) for name in ("one", "two")}
    for _ in range(2):
        with Monitor(tmp_path) as monitor:
            monitor.embeddings(7, sets)
    config = (tmp_path / "projector_config.pbtxt").read_text()
    assert config.count("tensor_name") == 2
    assert np.allclose(np.loadtxt(tmp_path / "00007" / "one" / "tensors.tsv"), points)
    assert (tmp_path / "00007" / "two" / "metadata.tsv").read_text() == "a\nb\nc\nd\n"


def test_nothing_is_written_without_a_workdir():
    with Monitor(None) as monitor:
        monitor.scalars(1, {"train/loss": 1.0})
        monitor.pr_curve(1, "eval/made/pr", np.array([True]), np.array([1.0]))
        monitor.picture(1, "eval/made/face", np.zeros((8, 8, 3), np.uint8))
        monitor.embeddings(1, {})
        monitor.hparams({}, {})
        monitor.layout({})


@pytest.mark.parametrize(
    ("stats", "expected"),
    [
        (None, {}),
        ({"bytes_in_use": 2_000_000_000}, {"device_memory": 2.0}),
        (
            {"bytes_in_use": 1_500_000_000, "peak_bytes_in_use": 3_000_000_000, "num_allocs": 3},
            {"device_memory": 1.5, "device_memory_peak": 3.0},
        ),
    ],
)
def test_device_memory_where_the_backend_tells_it(stats, expected):
    assert device_memory(SimpleNamespace(memory_stats=lambda: stats)) == expected


def test_names_that_are_not_utf_8_are_escaped_for_tensorboard(tmp_path):
    with Monitor(tmp_path) as monitor:
        monitor.text("config", "| data.train | \udcff |")
        monitor.hparams({"data.train": "\udcff"}, {"accuracy": 1.0})
        monitor.embeddings(1, {"faces": (np.zeros((2, 3)), ["\udcff", "a"], np.zeros((2, 4, 4, 3), np.uint8))})
    (events,) = tmp_path.glob("events.out.tfevents.*")
    assert b"\\udcff" in events.read_bytes()
