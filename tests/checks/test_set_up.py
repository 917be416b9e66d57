"""The doctor before a run: each planted fault is found under its name, and a valid set-up has none."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import pickle
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from adaptface_jax.checks.setup import agreement, backbone, classes, images, pairs, rehearsal, settings, setup_checks
from adaptface_jax.checks.setup.scan import scan_images, scan_source
from adaptface_jax.config import overrides, recipes
from adaptface_jax.config.schema import Config
from adaptface_jax.data.benchmarks.benchmark import Benchmark
from adaptface_jax.data.record import Record
from adaptface_jax.doctor import __main__ as doctor
from adaptface_jax.evaluation.embedding import Embedder
from adaptface_jax.models.specs import CLIP
from tests import running as commands
from tests.checks.said import FAULT, NOTE, OK, WARNING, said
from tests.made_models import replace

SMALL_RUN = {
    "backbone.weights": "builtin",
    "backbone.image_size": 56,
    "adapter.domain_loss_weight": 1.0,
    "data.train": "synthetic:identities=8,images=6",
    "data.benchmarks": {"faces": "synthetic:identities=8,images=6,seed=2,pairs=100"},
    "data.threads": 0,
    "train.batch_size": 16,
    "train.steps": 40,
    "train.learning_rate": 1e-3,
}


@pytest.fixture(scope="module")
def config_file(tmp_path_factory) -> Path:
    return commands.write_config(tmp_path_factory.mktemp("configs") / "small.py", SMALL_RUN)


@pytest.fixture(scope="module")
def config(config_file) -> Config:
    return overrides.freeze(recipes.load(config_file))


@dataclasses.dataclass
class ValidSetUp:
    """A valid set-up examined by the command: its output, and what it compiled."""

    status: int
    out: str
    findings: dict
    workdir: Path
    set_up: setup_checks.SetUp
    embedder: Embedder
    compiled: rehearsal.Compiled
    rehearsed: rehearsal.Rehearsed


@pytest.fixture(scope="module")
def valid(config_file, tmp_path_factory) -> ValidSetUp:
    folder, kept, out = tmp_path_factory.mktemp("valid"), {}, io.StringIO()

    def keep(name, function):
        def call(*args):
            kept[name] = function(*args)
            return kept[name]

        return call

    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out):
        for place, name in (
            (setup_checks, "open_set_up"), (setup_checks, "Embedder"), (rehearsal, "compile_step"), (rehearsal, "run")
        ):  # fmt: skip
            patch.setattr(place, name, keep(name, getattr(place, name)))
        words = (f"--config={config_file}", f"--workdir={folder / 'run'}", f"--output={folder / 'found.json'}")
        status = commands.call(doctor, *words)
    findings = json.loads((folder / "found.json").read_text())
    return ValidSetUp(status, out.getvalue(), findings, folder / "run", *kept.values())


@pytest.fixture(scope="module")
def set_up(valid) -> setup_checks.SetUp:
    return valid.set_up


@pytest.fixture(scope="module")
def embedder(valid) -> Embedder:
    return valid.embedder


@pytest.fixture(scope="module")
def source(set_up):
    return set_up.source


@pytest.fixture(scope="module")
def benchmark(set_up) -> Benchmark:
    return set_up.benchmarks["faces"]


class Altered:
    """A source with some records or labels replaced."""

    def __init__(self, source, labels=None, image=None, records=None):
        self._source, self._image = source, image or (lambda i, found: found)
        self._records = np.arange(len(source)) if records is None else np.asarray(records)
        self.labels = np.asarray(source.labels[self._records] if labels is None else labels, np.int32)
        self.num_classes, self.description = source.num_classes, "altered"

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> Record:
        found = self._source[int(self._records[index])]
        return Record(self._image(index, found.image), int(self.labels[index]), f"record {index}")


def black(image: np.ndarray) -> np.ndarray:
    return np.zeros_like(image)


def png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


# A valid set-up.


def test_a_valid_set_up_has_no_fault_and_no_warning(valid):
    found = valid.findings["findings"]
    # The machine's current speed is not the set-up's fault.
    assert {f["check"] for f in found if f["severity"] in ("fault", "warning")} <= {"speed"}
    assert valid.status == valid.findings["faults"] == 0
    assert {
        "weights", "image statistics", "readable", "class balance", "labels", "duplicates", "labels fit images",
        "domain pose", "domain age", "domain light",
        "pairs", "consistency", "overlap", "frozen backbone", "memory", "disk", "loss", "gradients", "speed",
    } <= {f["check"] for f in found}  # fmt: skip
    assert valid.out.splitlines()[-1].startswith(("✓ valid: ", "! no fault"))
    assert "\033" not in valid.out, "colors are for terminals"
    assert not valid.workdir.exists(), "the doctor writes nothing"


# Many faults at once, through the command.


@pytest.fixture(scope="module")
def sick(tmp_path_factory, source, benchmark) -> tuple[Path, Path]:
    """Identity folders and a pack, each with several faults."""
    folder = tmp_path_factory.mktemp("sick")
    train = folder / "train"
    for label in range(4):
        (train / f"person{label}").mkdir(parents=True)
        for i in range(5):
            (train / f"person{label}" / f"{i}.png").write_bytes(png(source[label * 6 + i].image))
    (train / "person0" / "cut.png").write_bytes(png(source[5].image)[:2000])
    (train / "person1" / "black.png").write_bytes(png(np.zeros((112, 112, 3), np.uint8)))
    (train / "person2" / "of1.png").write_bytes(png(source[6].image))
    faces = [png(benchmark.images[i]) for i in benchmark.index]
    faces[0] = png(source[0].image)  # trained on
    faces[2], faces[3] = faces[4], faces[4]
    pack = folder / "sick.bin"
    pack.write_bytes(pickle.dumps((faces, [not same for same in benchmark.issame.tolist()])))
    return train, pack


def test_many_planted_faults_are_all_named(config_file, sick, tmp_path, capsys):
    train, pack = sick
    output = tmp_path / "found.json"
    status = commands.call(doctor,
        f"--config={config_file}", f"--config.data.train={train}", f"--benchmark=sick={pack}",
        "--config.backbone.weights=", "--config.train.learning_rate=0", "--config.train.batch_size=64",
        f"--output={output}",
    )  # fmt: skip
    assert status == 1
    found = {(f["section"], f["check"]): f["severity"] for f in json.loads(output.read_text())["findings"]}
    faults = {key for key, severity in found.items() if severity == "fault"}
    assert faults >= {
        ("data", "readable"), ("data", "blank images"), ("data", "contradicting labels"),
        ("benchmark sick", "image with itself"), ("benchmark sick", "consistency"), ("benchmark sick", "overlap"),
        ("training", "learning rate"), ("set-up", "training"),
    }  # fmt: skip
    assert found["backbone", "weights"] == "warning"
    out = capsys.readouterr().out
    assert "RANDOM WEIGHTS" in out and "cut.png" in out
    assert out.splitlines()[-1].lstrip("✗X ")[0].isdigit() and "faults" in out.splitlines()[-1]


def test_what_training_refuses_is_a_fault_and_the_rest_is_still_checked(config_file, tmp_path, capsys):
    missing = tmp_path / "missing"
    words = (f"--config={config_file}", f"--config.data.train={missing}", "--benchmark=lfw=/nowhere.bin")
    assert commands.call(doctor, *words) == 1
    out = capsys.readouterr().out
    assert str(missing) in out and "/nowhere.bin" in out and "sha256" in out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "--config=FILE"),
        (["--config=/nowhere.py"], "/nowhere.py"),
        (["--run=/nowhere"], "no run"),
        (["--run=/nowhere", "--config=FILE"], "either"),
        (["--config.seed=1"], "--config.seed"),
        (["--config=FILE", "--sample=0"], "--sample"),
        (["--config=FILE", "--smple=3"], "--sample"),
        (["--config=FILE", "--config.trian.steps=3"], "train.steps"),
    ],
)
def test_a_bad_command_line_is_status_2_in_one_line(config_file, capsys, words, expected):
    assert commands.call(doctor, *(word.replace("FILE", str(config_file)) for word in words)) == 2
    error = capsys.readouterr().err
    assert expected in error and error.count("\n") == 1


def test_help_lists_the_exit_statuses(capsys):
    assert commands.call(doctor, "--help") == 0
    assert "1 faults found" in capsys.readouterr().out


# The training images.


def test_truncated_images(source):
    cut = png(source[0].image)[:2000]
    finding = images.readable(scan_source(Altered(source, image=lambda i, x: cut if i == 3 else x), None, 0))
    assert said(finding) == ("readable", FAULT) and "record 3" in finding.what


@pytest.mark.parametrize(("bad", "allowed", "severity"), [(3, 3, WARNING), (4, 3, FAULT), (1, 0, FAULT)])
def test_skipped_records_are_a_warning_up_to_the_limit(source, bad, allowed, severity):
    scan = scan_source(Altered(source, image=lambda i, x: b"no image" if i < bad else x), None, 0)
    assert said(images.readable(scan, allowed=allowed)) == ("readable", severity)


@pytest.mark.parametrize(("count", "severity"), [(0, OK), (1, FAULT), (48, FAULT)])
def test_black_images(source, count, severity):
    scan = scan_source(Altered(source, image=lambda i, x: black(x) if i < count else x), None, 0)
    assert said(images.contents(scan)) == ("blank images", severity)


def test_one_black_image_in_hundreds_is_a_warning(source):
    many = Altered(source, records=np.tile(np.arange(48), 5), image=lambda i, x: black(x) if i == 7 else x)
    assert said(images.contents(scan_source(many, None, 0))) == ("blank images", WARNING)


def test_swapped_channels(source):
    assert said(images.colors(scan_source(source, None, 0)))[1] is OK
    bgr = Altered(source, image=lambda i, x: x[:, :, ::-1])
    assert said(images.colors(scan_source(bgr, None, 0))) == ("colors", WARNING)


@pytest.mark.parametrize(
    ("width", "height", "severity"),
    [(112, 112, OK), (92, 112, NOTE), (112, 250, WARNING), (40, 40, WARNING), (400, 400, NOTE)],
)
def test_sizes(source, width, height, severity):
    resized = Altered(source, image=lambda i, x: np.resize(x, (height, width, 3)), records=range(4))
    assert said(images.sizes(scan_source(resized, None, 0), 112)) == ("sizes", severity)


def test_duplicates_within_and_across_identities(source):
    within = Altered(source, records=[*range(48), 0], labels=[*source.labels, 0])
    assert [said(f) for f in images.duplicates(scan_source(within, None, 0), within)] == [("duplicates", NOTE)]
    across = Altered(source, records=[*range(48), 0], labels=[*source.labels, 5])
    found = [said(f) for f in images.duplicates(scan_source(across, None, 0), across)]
    assert ("contradicting labels", FAULT) in found


def test_a_reencoded_copy_is_a_duplicate_by_its_pixels(source):
    copies = Altered(source, records=[0, 1, 0], image=lambda i, x: png(x) if i == 2 else x)
    (finding,) = images.duplicates(scan_source(copies, None, 0), copies)
    assert "1 images repeat" in finding.what and "0 byte for byte" in finding.what


def test_a_sample_is_seeded_and_reported_as_one(source):
    one, again, other = (scan_source(source, 20, seed) for seed in (0, 0, 1))
    assert np.array_equal(one.numbers, again.numbers) and not np.array_equal(one.numbers, other.numbers)
    assert len(np.unique(one.numbers)) == 20 and "sample" in images.readable(one).what
    assert "--full" in images.duplicates(one, source)[0].what


# The identities.


def test_one_identity_with_nearly_all_images(source):
    labels = np.zeros(48, np.int32)
    labels[-7:] = np.arange(1, 8)
    finding = classes.balance(Altered(source, labels=labels))
    assert said(finding) == ("class balance", FAULT) and "85%" in finding.what


def test_published_imbalance_gives_no_warning(source):
    """CASIA-WebFace has 2 to 802 images each, median 27."""
    labels = np.repeat(np.arange(1000), np.r_[802, np.full(999, 27)])
    skewed = Altered(source, records=np.zeros(len(labels), int), labels=labels)
    skewed.num_classes = 1000
    assert said(classes.balance(skewed))[1] is OK


def test_identities_with_one_image_or_none(source):
    assert classes.few(source) is None
    assert said(classes.few(Altered(source, labels=np.minimum(source.labels, 6)))) == ("empty identities", WARNING)
    singles = Altered(source, records=range(8), labels=np.arange(8))
    assert said(classes.few(singles)) == ("single images", WARNING)


def test_labels_outside_the_classes(source):
    wrong = Altered(source, labels=source.labels + 1)
    assert said(classes.label_range(wrong, scan_source(wrong, None, 0))) == ("labels", FAULT)


def test_records_that_contradict_the_index(source):
    scan = scan_source(source, None, 0)
    assert said(classes.label_range(Altered(source, labels=source.labels[::-1]), scan)) == ("labels", FAULT)


def test_shuffled_labels(set_up, embedder, source):
    assert said(agreement.labels(set_up.model, embedder, source, 0)) == ("labels fit images", OK)
    shuffled = Altered(source, labels=np.random.default_rng(0).permutation(source.labels))
    assert said(agreement.labels(set_up.model, embedder, shuffled, 0)) == ("labels fit images", FAULT)


# The benchmarks.


def changed(benchmark: Benchmark, **changes) -> Benchmark:
    return dataclasses.replace(benchmark, **changes)


def test_inverted_truth_values(set_up, embedder, benchmark):
    good = np.ones(len(benchmark.images), bool)
    assert said(agreement.truth_values(set_up.model, embedder, benchmark, good, 0)) == ("frozen backbone", OK)
    inverted = changed(benchmark, issame=~benchmark.issame)
    assert said(agreement.truth_values(set_up.model, embedder, inverted, good, 0)) == ("frozen backbone", FAULT)
    same = pairs.identical_images(scan_images(inverted, "inverted"))
    assert said(pairs.contradictions(inverted, same)) == ("consistency", FAULT)


def test_a_valid_benchmark_is_consistent(benchmark):
    same = pairs.identical_images(scan_images(benchmark, "faces"))
    assert said(pairs.contradictions(benchmark, same)) == ("consistency", OK)
    assert all(finding.severity is NOTE for finding in pairs.repeated(benchmark, same))


def test_a_constant_benchmark(benchmark):
    constant = changed(benchmark, images=[benchmark.images[0]] * len(benchmark.images))
    scan = scan_images(constant, "constant")
    assert said(pairs.contents(scan)) == ("images", FAULT)
    assert ("image with itself", FAULT) in [said(f) for f in pairs.repeated(constant, pairs.identical_images(scan))]


def test_black_benchmark_images(benchmark):
    dark = changed(benchmark, images=[black(benchmark.images[0]), *benchmark.images[1:]])
    assert said(pairs.contents(scan_images(dark, "dark"))) == ("blank images", FAULT)


@pytest.mark.parametrize(
    ("issame", "severity"),
    [
        (np.ones(100, bool), FAULT),
        (np.zeros(100, bool), FAULT),
        (np.arange(100) < 50, NOTE),  # its folds are stratified
        (np.arange(100) % 10 == 0, WARNING),
        (np.arange(100) % 2 == 0, OK),
        (np.arange(50) % 2 == 0, NOTE),
        (np.arange(8) % 2 == 0, NOTE),
        (np.arange(3) % 2 == 0, FAULT),
    ],
)
def test_kinds_of_pairs(benchmark, issame, severity):
    assert said(pairs.kinds(changed(benchmark, issame=issame))) == ("pairs", severity)


def test_training_images_in_a_benchmark(source, benchmark):
    training, own = scan_source(source, None, 0), scan_images(benchmark, "faces")
    assert said(pairs.overlap(training, own)) == ("overlap", OK)
    leaked = changed(benchmark, images=[png(source[0].image), *benchmark.images[1:]])
    finding = pairs.overlap(training, scan_images(leaked, "leaked"))
    assert said(finding) == ("overlap", FAULT) and "1 of" in finding.what, "found by its pixels, whatever its bytes"


def test_resized_and_reencoded_training_images_in_a_benchmark(source, benchmark):
    file = io.BytesIO()
    Image.fromarray(source[3].image).resize((160, 160)).save(file, "JPEG", quality=60)
    leaked = changed(benchmark, images=[*benchmark.images[:-1], file.getvalue()])
    finding = pairs.overlap(scan_source(source, None, 0), scan_images(leaked, "leaked"))
    assert said(finding) == ("overlap", WARNING) and "of training image 3" in finding.what


# The backbone.


def test_random_weights(set_up, config):
    random = dataclasses.replace(set_up.model, identity={**set_up.model.identity, "source": "random", "sha256": None})
    finding = backbone.identity(config, random)
    assert said(finding) == ("weights", WARNING) and "RANDOM WEIGHTS" in finding.what


def test_image_statistics_of_another_model(set_up):
    recognizer = set_up.model.recognizer
    spec = dataclasses.replace(recognizer.spec, stats=CLIP)
    model = dataclasses.replace(set_up.model, recognizer=dataclasses.replace(recognizer, spec=spec))
    assert said(backbone.statistics(model)) == ("image statistics", WARNING)


# The training step.


def test_the_first_loss_is_the_expected_one(set_up, valid):
    assert said(rehearsal.first_loss(valid.rehearsed, set_up.plan.expected_loss)) == ("loss", OK)
    mean, std = set_up.plan.expected_loss
    assert said(rehearsal.first_loss(valid.rehearsed, (mean + 20, std))) == ("loss", WARNING)


def test_every_trained_part_has_a_gradient(valid):
    finding = rehearsal.gradients(valid.rehearsed)
    assert said(finding) == ("gradients", OK)
    assert set(finding.numbers) == {"adapter", "router", "head", "centers"}


@pytest.mark.parametrize(("value", "word"), [(0.0, "always zero"), (float("nan"), "not finite")])
def test_a_part_without_a_gradient(valid, value, word):
    metrics = tuple({**row, "grad_norm/head": value} for row in valid.rehearsed.metrics)
    finding = rehearsal.gradients(dataclasses.replace(valid.rehearsed, metrics=metrics))
    assert said(finding) == ("gradients", FAULT) and "head: " in finding.what and word in finding.what


def test_a_loss_that_is_not_finite(valid):
    metrics = tuple({**row, "loss": float("nan")} for row in valid.rehearsed.metrics)
    finding = rehearsal.first_loss(dataclasses.replace(valid.rehearsed, metrics=metrics), (26.0, 1.0))
    assert said(finding) == ("loss", FAULT)


def test_the_plan_outlives_its_rehearsal(set_up, valid):
    """The step donates its state; the opened model must stay intact."""
    assert all(np.isfinite(np.asarray(leaf)).all() for leaf in jax.tree.leaves(set_up.plan.model.trainable))


def test_a_batch_too_large_for_the_memory(valid):
    compiled = valid.compiled
    total = 8 * compiled.total_bytes
    assert compiled.work_bytes > 0
    assert said(rehearsal.memory(compiled, 2 * total, 8)) == ("memory", OK)
    assert said(rehearsal.memory(compiled, total + 1, 8)) == ("memory", WARNING)
    assert said(rehearsal.memory(compiled, total - 1, 8)) == ("memory", FAULT)
    assert said(rehearsal.memory(compiled, None, 8)) == ("memory", NOTE)


@pytest.mark.parametrize(("data", "severity"), [(1000.0, OK), (90.0, OK), (50.0, WARNING), (None, NOTE)])
def test_data_slower_than_the_step(data, severity):
    assert said(rehearsal.speed(data, 100.0)) == ("speed", severity)


# The settings.


@pytest.mark.parametrize(("rate", "severity"), [(0.0, FAULT), (1e-9, WARNING), (1e-4, OK), (3e-3, OK), (1.0, WARNING)])
def test_learning_rate(config, rate, severity):
    finding = settings.learning_rate(replace(config, "train", learning_rate=rate))
    assert said(finding) == ("learning rate", severity)


@pytest.mark.parametrize(
    ("changes", "severity"),
    [
        ({}, OK),
        ({"warmup_steps": 40}, FAULT),
        ({"schedule": "step", "decay_epochs": (1, 2, 3, 4), "decay_factor": 0.01}, WARNING),
    ],
)
def test_course(config, changes, severity):
    assert said(settings.course(replace(config, "train", **changes), 3, 40)) == ("course", severity)


@pytest.mark.parametrize(("scale", "severity"), [(64.0, OK), (16.0, OK), (5.0, WARNING), (500.0, WARNING)])
def test_scale(config, scale, severity):
    assert said(settings.scale(replace(config, "loss", scale=scale), 10_572)) == ("scale", severity)


@pytest.mark.parametrize(("free", "severity"), [(10**12, OK), (10**9, WARNING), (10**6, FAULT)])
def test_disk(config, tmp_path, free, severity):
    finding = settings.disk(tmp_path / "runs" / "new", config, 100 * 10**6, 1000, free=free)
    assert said(finding) == ("disk", severity)


def test_a_workdir_below_a_file(config, tmp_path):
    (tmp_path / "file").write_text("")
    assert said(settings.disk(tmp_path / "file" / "run", config, 1, 1)) == ("disk", FAULT)
