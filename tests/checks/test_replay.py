# SPDX-License-Identifier: Apache-2.0
"""A run that proves itself: unchanged it is proven, and any change in it or its sources is named."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import types
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from adaptface_jax.checks.finding import Finding, Severity
from adaptface_jax.checks.replay.exported import exported
from adaptface_jax.checks.replay.kept import checkpoint_steps, kept
from adaptface_jax.checks.replay.recorded_run import read_recorded_run
from adaptface_jax.checks.replay.replayer import Replayer
from adaptface_jax.checks.replay.sources import sources
from adaptface_jax.checks.replay.windows import Window, choose_windows
from adaptface_jax.core import manifest
from adaptface_jax.distributed.mesh import make_mesh
from adaptface_jax.export import __main__ as export
from adaptface_jax.models.specs import BACKBONES
from adaptface_jax.replay import __main__ as replay
from adaptface_jax.train import __main__ as train
from adaptface_jax.training.checkpoint import Checkpoints
from adaptface_jax.training.evidence import EVIDENCE, linked, read_lines, rows_digests
from adaptface_jax.training.fingerprint import make_fingerprint
from adaptface_jax.training.monitor import read_metrics
from adaptface_jax.training.recognition.plan import prepare
from adaptface_jax.training.run import recorded_config
from tests.made_runs import write_backbone
from tests.running import call, write_config

SETTINGS = {
    "backbone.weights": "backbone",
    "data.train": "data/list.txt",
    "data.benchmarks": {"faces": "synthetic:identities=4,images=6,seed=2,pairs=20"},
    "data.threads": 0,
    "eval.batch_size": 32,
    "eval.every_epochs": 0,
    "train.batch_size": 16,
    "train.steps": 12,
    "train.learning_rate": 1e-3,
    "train.log_every": 2,
    "checkpoint.every_steps": 5,
    "checkpoint.keep": 1,
    "checkpoint.keep_every": 4,
}
PEOPLE, IMAGES = 4, 48


def write_data(folder: Path) -> None:
    """Noise images and a list of them."""
    rng = np.random.default_rng(3)
    (folder / "images").mkdir(parents=True)
    for number in range(IMAGES):
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(folder / "images" / f"{number:02}.png")
    (folder / "list.txt").write_text("".join(f"images/{i:02}.png {i % PEOPLE}\n" for i in range(IMAGES)))


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A folder with a run of 12 steps, its data, its backbone and its exported adapter; checkpoints 4, 8 and 12."""
    root = tmp_path_factory.mktemp("proof")
    write_data(root / "data")
    write_backbone(root / "backbone", BACKBONES["demo"])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        assert call(train, f"--config={write_config(root / 'small.py', SETTINGS)}", "--workdir=run") == 0
        assert call(export, "--run=run", "--format=peft", "--out=exported", "--checkpoint=latest") == 0
    return root


@pytest.fixture
def root(original, tmp_path, monkeypatch):
    """A copy of it, to be tampered with; the working directory."""
    shutil.copytree(original, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return tmp_path / "copy"


def wrong(findings) -> list[tuple[str, str]]:
    return [(finding.check, finding.what) for finding in findings if finding.severity is Severity.FAULT]


def plan_of(run: Path):
    record = read_recorded_run(run).first_record
    config = recorded_config(run, record)
    return prepare(dataclasses.replace(config, data=dataclasses.replace(config.data, benchmarks={})), record)


@pytest.fixture(scope="module")
def plan(original):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(original)
        return plan_of(Path("run"))


def test_an_untouched_run_is_proven(root, capsys):
    before = {file: file.read_bytes() for file in Path("run").rglob("*") if file.is_file()}
    assert call(replay, "run", "--share=60", "--exported=exported", "--output=found.json") == 0
    out = capsys.readouterr().out
    assert out.rstrip().splitlines()[-1].startswith("PROVEN: ")
    windows = re.findall(r"(\d+) to (\d+) .*equal bit for bit", out)
    assert [int(start) for start, _ in windows] == [0, 4, 8]
    assert "checkpoint 12, bit for bit" in out and "3 checkpoints: 4, 8, 12" in out
    assert json.loads(Path("found.json").read_text())["faults"] == 0
    assert before == {file: file.read_bytes() for file in Path("run").rglob("*") if file.is_file()}


def edited(name: str, before: str, after: str):
    """Replace text in a file."""

    def tamper() -> None:
        text = Path(name).read_text()
        assert re.search(before, text)
        Path(name).write_text(re.sub(before, after, text, count=1))

    return tamper


def without_line(name: str, number: int):
    def tamper() -> None:
        lines = Path(name).read_text().splitlines(keepends=True)
        Path(name).write_text("".join(lines[:number] + lines[number + 1 :]))

    return tamper


def one_more_row() -> None:
    with open("run/metrics.jsonl", "a") as file:
        file.write('{"step": 12, "eval/faces/accuracy": 0.99}\n')


def flipped(pattern: str, at: float = 0.5):
    """One bit of the largest file of that name."""

    def tamper() -> None:
        path = max(Path("run").glob(pattern), key=lambda path: path.stat().st_size)
        data = bytearray(path.read_bytes())
        data[int(len(data) * at)] ^= 1
        path.write_bytes(data)

    return tamper


def signed_again(change, folder: str = "run/checkpoints/8"):
    """A change in a checkpoint, with a matching manifest."""

    def tamper() -> None:
        facts = manifest.read_manifest(Path(folder)).facts
        change()
        (Path(folder) / manifest.NAME).unlink()
        manifest.write_manifest(Path(folder), facts)

    return tamper


KEPT = {
    "a loss": (
        edited("run/metrics.jsonl", r'("step": 6, .*"train/loss": \d+\.)\d', r"\g<1>0"), "metrics", r"step 6 \(train\)"
    ),
    "an accuracy in the log": (
        edited("run/metrics.jsonl", '"eval/faces/accuracy": [0-9.]+', '"eval/faces/accuracy": 0.95'),
        "metrics", r"step 12 \(eval\)",
    ),
    "a row taken out": (without_line("run/metrics.jsonl", 3), "metrics", "1 row of metrics.jsonl missing, from step 6"),
    "a row added": (one_more_row, "metrics", "1 more in metrics.jsonl than were written: step 12"),
    "the learning rate": (
        edited("run/run.json", '"learning_rate": 0.001', '"learning_rate": 0.002'),
        "settings", "run.json: config.train.learning_rate was 0.001 in training, is 0.002",
    ),
    "the seed": (edited("run/run.json", '"seed": 0', '"seed": 5'), "settings", "run.json: config.seed was 0 .* is 5"),
    "a harmless setting": (
        edited("run/run.json", '"bad_records": "fail"', '"bad_records": "skip"'), "settings", "config.data.bad_records"
    ),
    "a checkpoint's settings": (
        signed_again(edited("run/checkpoints/8/run.json", '"rank": 2', '"rank": 4')),
        "settings", "checkpoints/8/run.json: config.adapter.rank was 2 in training, is 4",
    ),
    "an accuracy in the results": (
        edited("run/results.json", '"accuracy": [0-9.]+', '"accuracy": 0.95'), "results", "results.json has changed"
    ),
    "a score": (flipped("scores/faces.npz"), "results", "scores/faces.npz has changed since it was written"),
    "the baseline": (edited("run/baselines.json", '"auc": [0-9.]+', '"auc": 0.5'), "results", "baselines.json has"),
    "the results gone": (lambda: Path("run/results.json").unlink(), "results", "results.json is missing"),
    "what records held": (flipped("evidence.records"), "results", "evidence.records has changed since it was written"),
    "a line of evidence": (
        edited(f"run/{EVIDENCE}", r'("step": 6, .*"state": \[)\d+', r"\g<1>7"), "evidence", "line 6 was changed"
    ),
    "a line of evidence taken out": (
        without_line(f"run/{EVIDENCE}", 4), "evidence", "line 5 was changed, or an earlier one removed"
    ),
    "no evidence": (lambda: Path(f"run/{EVIDENCE}").unlink(), "evidence", "evidence.jsonl is missing"),
}  # fmt: skip


@pytest.mark.parametrize(("tamper", "check", "what"), KEPT.values(), ids=KEPT)
def test_changes_in_the_records_are_named(root, tamper, check, what):
    tamper()
    found = wrong(kept(read_recorded_run(Path("run"))))
    assert [name for name, _ in found] == [check] and re.search(what, found[0][1])


def test_a_changed_record_gives_status_1(root, capsys, monkeypatch):
    edited("run/results.json", '"accuracy": [0-9.]+', '"accuracy": 0.95')()
    monkeypatch.setattr(Replayer, "run", lambda self, window: Finding("steps", Severity.OK, "not checked"))
    assert call(replay, "run") == 1
    assert capsys.readouterr().out.rstrip().splitlines()[-1] == "CHANGED: 1 difference: results"


def swapped() -> None:
    """Two images of two people."""
    first, second = Path("data/images/05.png"), Path("data/images/06.png")
    one, other = first.read_bytes(), second.read_bytes()
    first.write_bytes(other)
    second.write_bytes(one)


def repainted() -> None:
    image = np.array(Image.open("data/images/07.png"))
    image[0, 0, 0] ^= 1
    Image.fromarray(image).save("data/images/07.png")


def other_backbone() -> None:
    tensors = safetensors.numpy.load_file("backbone/model.safetensors")
    name = sorted(tensors)[3]
    tensors[name] = np.nextafter(tensors[name], np.float32(9))
    safetensors.numpy.save_file(tensors, "backbone/model.safetensors")


SOURCES = {
    "two images swapped": (swapped, ["records", "records"], r"record 5 \(images/05.png\): image.*changed"),
    "a pixel": (repainted, ["records"], r"record 7 \(images/07.png\): image.*changed"),
    "a label": (
        edited("data/list.txt", "09.png 1", "09.png 2"), ["data", "records"],
        r"from training: labels\n.*record 9 \(images/09.png\): label changed",
    ),
    "an image taken out": (
        without_line("data/list.txt", 2), ["data", "data", "records"],
        r"48 images in training, 47 now\n.*records or their order.*\n.*record 2 \(images/03.png\): .*changed",
    ),
    "the backbone": (other_backbone, ["backbone"], "sha256 was '.*', is '"),
}  # fmt: skip


@pytest.mark.parametrize(("tamper", "checks", "what"), SOURCES.values(), ids=SOURCES)
def test_changes_in_data_and_backbone_are_named(root, tamper, checks, what):
    tamper()
    found = wrong(sources(read_recorded_run(Path("run")), plan_of(Path("run"))))
    assert [name for name, _ in found] == checks
    assert re.search(what, "\n".join(text for _, text in found))


def nudged(plan, step: int = 8) -> None:
    """One bit of one trained weight, in a checkpoint that its manifest calls intact."""
    recorded = read_recorded_run(Path("run"))
    state = Replayer(recorded, plan, 1e-3).start(step)
    head = state.trainable["head"]
    kernel = np.array(head["kernel"])
    kernel.view(np.uint32)[1, 2] ^= 1
    changed = jax.device_put(kernel, head["kernel"].sharding)
    state = dataclasses.replace(state, trainable=state.trainable | {"head": head | {"kernel": changed}})
    shutil.rmtree(f"run/checkpoints/{step}")
    with Checkpoints(Path("run/checkpoints"), keep=9, record=recorded.record) as checkpoints:
        checkpoints.save(step, state)


def checkpoint_faults(plan) -> list[tuple[str, str]]:
    recorded = read_recorded_run(Path("run"))
    intact, findings = checkpoint_steps(recorded)
    replayer = Replayer(recorded, plan, 1e-3)
    return wrong([*findings, *filter(None, map(replayer.kept, intact))])


def test_a_checkpoint_must_hold_the_state_of_the_training(root, plan):
    assert checkpoint_faults(plan) == []
    nudged(plan)
    assert checkpoint_faults(plan) == [
        ("checkpoint", "checkpoint 8 is not the state from training: trainable.head.kernel")
    ]
    flipped("checkpoints/12/**/d/*")()
    shutil.rmtree("run/checkpoints/8")
    shutil.copytree("run/checkpoints/4", "run/checkpoints/8")
    (_, damaged), (_, renamed) = sorted(checkpoint_faults(plan))
    assert "step 12 is damaged" in renamed + damaged and "contains the state after step 4, not 8" in renamed + damaged


@pytest.mark.parametrize(("folder", "words"), [("run", "holds no adapter"), ("run/run.json", "is not a folder")])
def test_what_is_no_exported_adapter_says_nothing_about_the_run(folder, words, root, capsys):
    assert call(replay, "run", f"--exported={folder}") == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error == f"error: --exported: {folder} {words}; expected the output of `adaptface export --format=peft`"


def test_an_exported_adapter_must_match_a_checkpoint(root, plan):
    recorded = read_recorded_run(Path("run"))
    replayer = Replayer(recorded, plan, 1e-3)
    assert wrong([exported(Path("exported"), plan, replayer, [4, 8, 12])]) == []
    config = Path("exported/domain_0/adapter_config.json")
    kept = config.read_bytes()
    config.unlink()
    ((check, what),) = wrong([exported(Path("exported"), plan, replayer, [4, 8, 12])])
    assert check == "exported" and "not from this run (exported/domain_0: has no adapter_config.json" in what
    config.write_bytes(kept)
    file = next(Path("exported").rglob("domain_1/adapter_model.safetensors"))
    tensors = safetensors.numpy.load_file(file)
    name = next(name for name in sorted(tensors) if "lora_B" in name)
    tensors[name].view(np.uint32)[0, 0] ^= 1
    safetensors.numpy.save_file(tensors, file)
    ((check, what),) = wrong([exported(Path("exported"), plan, replayer, [4, 8, 12])])
    assert check == "exported" and re.search(
        r"matches no checkpoint; the nearest is 12, from which adapter\.\S+ differs", what
    )


def forge(change) -> None:
    """Evidence rewritten by a forger, including the chain."""
    lines, chain = read_lines(Path("run")), ""
    for line in lines:
        change(line)
        line["chain"] = chain = linked(chain, line)
    Path(f"run/{EVIDENCE}").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_a_consistent_forgery_is_found_by_replaying(root, plan):
    edited("run/metrics.jsonl", r'("step": 6, .*"train/loss": \d+\.)\d', r"\g<1>0")()
    rows = rows_digests(read_metrics(Path("run")))

    def told_otherwise(line):
        if line.get("rows"):
            line["rows"] = [rows.pop(0) for _ in line["rows"]]
        if line["step"] == 10 and "state" in line:
            line["state"][3] ^= 1

    forge(told_otherwise)
    recorded = read_recorded_run(Path("run"))
    assert wrong(kept(recorded)) == []
    replayer = Replayer(recorded, plan, 1e-3)
    assert wrong([replayer.run(Window(0, 4))]) == []
    assert re.search(r"step 6: train/loss was \d+\.0\d+, is now \d+\.\d+", replayer.run(Window(4, 8)).what)
    assert re.search(r"step 10: 1 of \d+ arrays of the state differ, first", replayer.run(Window(8, 12)).what)
    elsewhere = types.MappingProxyType({**recorded.sessions[0].environment, "processor": "another"})
    recorded.sessions[0] = recorded.sessions[0]._replace(environment=elsewhere)
    found = replayer.run(Window(8, 12))
    assert found.severity is Severity.OK and found.what.endswith("equal bit for bit")  # only the evidence was wrong
    repainted()
    assert "different records, or records with different content" in replayer.run(Window(0, 12)).what


def test_a_resumed_run_is_proven_across_its_sessions(root):
    shutil.rmtree("run/checkpoints/12")
    Path("run/results.json").unlink()
    with open("run/metrics.jsonl", "ab") as file:
        file.truncate(Path("run/metrics.jsonl").stat().st_size - 5)
    assert call(train, "--config=small.py", "--workdir=run") == 0
    recorded = read_recorded_run(Path("run"))
    assert [session.step for session in recorded.sessions] == [0, 8] and recorded.ended
    assert wrong(kept(recorded)) == []
    without_line("run/metrics.jsonl", 2)()
    assert [name for name, _ in wrong(kept(read_recorded_run(Path("run"))))] == ["metrics"]


def test_a_run_of_an_older_version_is_proven_as_far_as_it_can_be(goldens, capsys):
    found = kept(read_recorded_run(goldens / "run_before_layout"))
    assert wrong(found) == []
    recorded = read_recorded_run(goldens / "run_before_layout")
    assert [finding.check for finding in kept(recorded) if finding.severity is Severity.NOTE] == ["evidence"]
    assert recorded.trained == 8 and recorded.session_of(0) is None


def test_what_cannot_be_replayed_gives_one_line(root, capsys):
    assert call(replay, "data") == 2
    assert "contains no run" in capsys.readouterr().err
    shutil.rmtree("data")
    assert call(replay, "run") == 2
    assert capsys.readouterr().err.count("\n") == 1


@given(
    shape=st.lists(st.integers(1, 5), min_size=0, max_size=3),
    dtype=st.sampled_from([np.float32, np.int32, np.uint8]),
    where=st.integers(0, 10**6),
    bit=st.integers(0, 7),
)
@settings(max_examples=12)
def test_any_one_bit_changes_the_fingerprint_of_its_array_alone(shape, dtype, where, bit):
    values = np.asarray(np.random.default_rng(where).integers(0, 200, shape), dtype)
    other = values.copy()
    other.reshape(-1).view(np.uint8)[where % max(1, other.nbytes)] ^= 1 << bit
    fingerprint = make_fingerprint(make_mesh())
    before, after = (np.asarray(fingerprint({"a": jnp.ones(3), "b": jnp.asarray(x)})) for x in (values, other))
    assert before[0] == after[0] and before[1] != after[1]


@given(
    starts=st.sets(st.integers(0, 400), min_size=1),
    every=st.integers(1, 60),
    count=st.integers(1, 9),
    allowed=st.integers(0, 100),
    seed=st.integers(0, 5),
)
def test_windows_start_at_kept_states_and_stay_within_their_share(starts, every, count, allowed, seed):
    known = list(range(every, 401, every))
    windows = choose_windows(sorted(starts), known, [200], count, allowed, seed)
    assert windows == choose_windows(sorted(starts), known, [200], count, allowed, seed)
    for window in windows:
        assert window.start in starts and window.end in known and window.end > window.start
        assert not window.start < 200 < window.end
    assert len(windows) <= count and (len(windows) < 2 or sum(window.steps for window in windows) <= allowed)
    assert windows or not any(any(start < step <= (200 if start < 200 else 400) for step in known) for start in starts)
