# SPDX-License-Identifier: Apache-2.0
"""The size at which images go to the device: the set's own, if it has one, so that the model loses nothing."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import adaptface_jax as af
from adaptface_jax.api.photographs import Cropper
from adaptface_jax.config import overrides, recipes
from adaptface_jax.config.schema import Config
from adaptface_jax.core.errors import InputError
from adaptface_jax.core.json_io import to_json
from adaptface_jax.data.pipeline import STORED_SIZE
from adaptface_jax.data.sources.from_path import open_source
from adaptface_jax.data.stored_size import AUTO, StoredSize, size_line, stored_size
from adaptface_jax.embed import __main__ as embed
from adaptface_jax.evaluate import __main__ as evaluate
from adaptface_jax.training.recognition.plan import prepare
from adaptface_jax.training.recognition.summary import summary
from adaptface_jax.training.run import check_same, read_record, write_record
from adaptface_jax.verify import __main__ as verify
from tests.made_models import relative
from tests.running import call, write_config

from .packing import encoded, picture

SIZE = 126  # of the packaged backbone's patches, above STORED_SIZE


def images(*sizes: tuple[int, int]) -> list[bytes]:
    return [encoded(picture(0, *size)) for size in sizes]


@given(st.integers(1, 300), st.integers(1, 300), st.sampled_from((28, 112, 126, 224)))
def test_for_one_size_it_is_the_longer_side_within_bounds(width, height, model):
    blank = np.zeros((height, width, 3), np.uint8)
    found = stored_size(AUTO, model, [blank, encoded(blank), blank])
    assert found.pixels == max(STORED_SIZE, min(max(width, height), model))
    assert found.why == f"the images are {width}x{height}"


@pytest.mark.parametrize(
    ("sizes", "model", "pixels", "why"),
    [
        ([(112, 112), (250, 250)], 224, 112, "the images are 112x112 to 250x250; data.stored_size=224 keeps more"),
        ([(250, 250), (640, 480)], 224, 224, "the images are 250x250 to 640x480"),
        ([(30, 40), (92, 112)], 224, 112, "the images are 30x40 to 92x112"),
        ([(30, 40), (640, 480)], 112, 112, "the images are 30x40 to 640x480"),
        ([], 224, 112, "no image could be read"),
    ],
)
def test_for_several_sizes_it_is_the_model_s_only_if_all_are_that_large(sizes, model, pixels, why):
    assert stored_size(AUTO, model, images(*sizes)) == StoredSize(pixels, why)


def test_a_number_is_used_and_unreadable_images_are_left_out():
    assert stored_size(64, 224, images((250, 250))).pixels == 64
    assert stored_size(AUTO, 224, [b"nonsense", *images((200, 200))]).pixels == 200
    assert stored_size(AUTO, 224, [b"nonsense"]).pixels == STORED_SIZE
    assert stored_size(AUTO, 224, open_source("synthetic:identities=3")).pixels == 112
    many = stored_size(AUTO, 224, images((200, 200)) * 100)
    assert size_line(many.pixels, 224, many.why) == (
        "images    200 px stored -> 224 px in the model (64 of 100 images are 200x200)"
    )


@pytest.mark.parametrize(("text", "value"), [("auto", "auto"), ("224", 224)])
def test_the_setting_is_auto_or_pixels(text, value):
    config = overrides.defaults()
    overrides.apply(config, "data.stored_size", text)
    assert overrides.freeze(config).data.stored_size == value


@pytest.mark.parametrize("value", ["large", "", "1.5", 8, 1.5, None])
def test_nothing_else(value):
    config = overrides.defaults()
    config.data.stored_size = value
    with pytest.raises(InputError, match=r"^data\.stored_size: "):
        overrides.freeze(config)


# How a command handles images at the model's size.


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """Noise, in which any resizing shows: four people with two images each."""
    folder = tmp_path_factory.mktemp("pictures")
    noise = np.random.default_rng(5).integers(0, 256, (8, SIZE, SIZE, 3), np.uint8)
    for number, image in enumerate(noise):
        (folder / f"p{number // 2}").mkdir(exist_ok=True)
        Image.fromarray(image).save(folder / f"p{number // 2}" / f"{number % 2}.png")
    return folder


@pytest.fixture(scope="module")
def exact(pictures) -> np.ndarray:
    """The features of their own pixels, normalized and not resized."""
    opened = af.open("builtin", image_size=SIZE)
    recognizer = opened.model.recognizer
    levels = np.stack([np.asarray(Image.open(path)) for path in sorted(pictures.rglob("*.png"))])
    pixels = (levels / 255 - recognizer.spec.stats.mean) / recognizer.spec.stats.std
    run = jax.jit(lambda x: recognizer.embed(opened.model.frozen, opened.model.trainable, x).feature)
    return np.asarray(run(pixels.astype(np.float32)))


MODEL = ("--backbone=builtin", f"--image_size={SIZE}", "--batch_size=8")


def test_images_at_the_model_s_size_are_seen_unchanged(pictures, exact, tmp_path, capsys):
    out = tmp_path / "faces.npz"
    assert call(embed, *MODEL, f"--images={pictures}", f"--out={out}") == 0
    assert capsys.readouterr().out.startswith(f"images    {SIZE} px stored -> {SIZE} px in the model\n")
    with np.load(out) as found:
        assert relative(found["features"], exact) < 1e-5
    assert call(embed, *MODEL, "--stored_size=112", f"--images={pictures}", f"--out={out}") == 0
    assert capsys.readouterr().out.startswith(f"images    112 px stored -> {SIZE} px in the model\n")
    with np.load(out) as found:
        assert relative(found["features"], exact) > 1e-2
    opened = af.open("builtin", image_size=SIZE, batch_size=8)
    assert opened.stored_size == SIZE and af.open("builtin", image_size=28).stored_size == 112
    assert relative(opened.embed(sorted(pictures.rglob("*.png")), align=False).features, exact) < 1e-5


def test_evaluate_and_verify_report_it(pictures, tmp_path, capsys):
    probes = tmp_path / "probes"
    shutil.copytree(pictures, probes)
    assert call(evaluate, *MODEL, f"--gallery={pictures}", f"--probes={probes}") == 0
    assert capsys.readouterr().out.startswith(f"images    {SIZE} px stored -> {SIZE} px in the model\n")
    crop = tmp_path / "crop.png"
    crop.write_bytes(encoded(picture(0)))
    assert call(verify, *MODEL[:2], crop, crop, "--threshold=1") == 0
    assert capsys.readouterr().out.startswith(f"images    112 px stored -> {SIZE} px in the model\n")


def test_a_crop_is_known_by_the_size_of_the_run():
    crop, other = picture(0, SIZE, SIZE), picture(0)
    cropper = Cropper(SIZE, (112, SIZE))
    assert cropper(crop, 0, "auto").faces is None and cropper.sees(crop, "auto")
    assert cropper(other, 0, "auto").faces is None and not cropper.sees(other, "auto")
    assert cropper.seen(other, 0, "auto").shape == crop.shape and cropper.seen(crop, 0, "auto") is crop
    assert not cropper.sees(crop, True) and not Cropper(SIZE).sees(crop, "auto") and Cropper(SIZE).sees(crop, False)


def small(pictures: Path, tmp_path: Path, **more: object) -> Config:
    settings = {"backbone.weights": "builtin", "backbone.image_size": SIZE, "data.train": str(pictures)}
    settings |= {"train.batch_size": 8, "train.steps": 2} | more
    return overrides.freeze(recipes.load(write_config(tmp_path / "small.py", settings)))  # type: ignore[return-value]


def test_a_run_resumes_at_its_original_size(pictures, tmp_path, capsys):
    config = small(pictures, tmp_path)
    plan = prepare(config)
    assert plan.stored_size == plan.model.stored_size == plan.record["stored_size"] == SIZE
    assert f"images    {SIZE} px stored -> {SIZE} px in the model (the images are {SIZE}x{SIZE})" in summary(plan)
    # A record from before the setting: its images were 112x112, and still are.
    before = json.loads(to_json(plan.record))
    del before["stored_size"], before["config"]["data"]["stored_size"]
    (tmp_path / "run").mkdir()
    write_record(tmp_path / "run", before)
    before = read_record(tmp_path / "run")
    again = prepare(config, before)
    assert (
        again.stored_size == 112 and "112 px stored" in summary(again) and "(as when the run started)" in summary(again)
    )
    check_same(tmp_path / "run", read_record(tmp_path / "run"), again.record)
    named = dataclasses.replace(config, data=dataclasses.replace(config.data, stored_size=112))
    check_same(tmp_path / "run", read_record(tmp_path / "run"), prepare(named, before).record)
    with pytest.raises(InputError, match=r"stored_size was 112, now 126"):
        check_same(tmp_path / "run", read_record(tmp_path / "run"), plan.record)
    assert prepare(config, plan.record).stored_size == SIZE
