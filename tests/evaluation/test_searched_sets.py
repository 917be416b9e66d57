"""IJB 1:N, TinyFace and distractors: their published layouts, and errors in them."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from adaptface_jax.core.errors import InputError
from adaptface_jax.data.benchmarks.distractors import open_distractors
from adaptface_jax.data.benchmarks.ijb import open_ijb
from adaptface_jax.data.benchmarks.tinyface import open_tinyface
from adaptface_jax.evaluation.identification import crowd
from adaptface_jax.evaluation.template_search import search_templates
from adaptface_jax.evaluation.tiny_search import search_tinyface

from .forms import write_faces
from .searched import write_ijb, write_list, write_tinyface

WIDTH = 8


def points(person: np.ndarray, noise: float = 0.6) -> np.ndarray:
    """Raw embeddings, float32 [M, WIDTH]: similar for one person."""
    numbers, place = np.unique(person, return_inverse=True)
    rng = np.random.default_rng(2)
    centers = rng.normal(size=(len(numbers), WIDTH))
    return (centers[place] + noise * rng.normal(size=(len(person), WIDTH))).astype(np.float32)


def plain_rank1(units, subject, gallery, probes) -> tuple[float, int]:
    """The share of probes with a mate whose best template is their own, and how many have one."""
    right = []
    for probe in probes:
        scores = {template: float(units[template] @ units[probe]) for template in gallery}
        if subject[probe] in {subject[template] for template in gallery}:
            right.append(subject[max(scores, key=scores.get)] == subject[probe])
    return float(np.mean(right)), len(right)


def test_the_lists_of_one_to_many_are_searched_gallery_by_gallery_and_as_one(tmp_path):
    subject = write_ijb(tmp_path)
    benchmark = open_ijb(tmp_path)
    assert benchmark.search.probes.template.shape == (24,) and set(benchmark.search.galleries) == {"G1", "G2"}
    units = points(np.array([subject[name] for name in benchmark.names.tolist()]))
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    found = search_templates(units, benchmark.search)
    assert list(found) == ["G1", "G2", "mean"]
    of_template = dict(zip(benchmark.names.tolist(), units.astype(float), strict=True))
    names = list(subject)
    right = known = 0
    for part, gallery in (("G1", names[::6]), ("G2", names[3::6])):
        probes = [name for name in names if name not in names[::3]]
        rate, count = plain_rank1(of_template, subject, gallery, probes)
        assert (found[part].rank1, found[part].known_probes, found[part].unknown_probes) == (rate, count, 24 - count)
        assert (found[part].people, found[part].gallery_images) == (6, 6)
        right, known = right + rate * count, known + count
    assert found["mean"].rank1 == pytest.approx(right / known) and found["mean"].known_probes == known == 24
    further = search_templates(units, benchmark.search, crowd(points(np.arange(30)), np.arange(30)))
    assert further["mean"].distractors == 30 and further["mean"].rank1 <= found["mean"].rank1


def test_with_lists_of_one_to_many_pairs_need_not_be_there_and_without_them_nothing_is_searched(tmp_path):
    write_ijb(tmp_path, pairs=False)
    assert open_ijb(tmp_path).pairs.shape == (0, 2)
    for file in (tmp_path / "meta").glob("*1N*"):
        file.unlink()
    with pytest.raises(InputError, match=r"no file is named \*_template_pair_label\.txt"):
        open_ijb(tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("gallery_G1", "", "lists no template"),
        ("gallery_G1", "TEMPLATE_ID,SUBJECT_ID\n100\n", "line 2, '100': is not a template"),
        ("gallery_G1", "TEMPLATE_ID,SUBJECT_ID\n100,x\n", "line 2, '100,x': is not a template"),
        ("gallery_G1", "100,1\n100,2\n", "line 2, .*: template 100 is of subject 1 on an earlier line"),
        ("gallery_G2", "5,1\n", "template 5 has no face"),
        ("gallery_G2", f"{'9' * 30},1\n", "is not a template"),
        ("gallery_G2", "107,1000\n", "template 107 is also a probe"),
        ("probe_mixed", None, "2 files are .* and 0 are"),
    ],
)
def test_errors_in_a_one_to_many_list_are_reported(tmp_path, name, text, words):
    write_ijb(tmp_path)
    file = tmp_path / "meta" / f"ijbc_1N_{name}.csv"
    if text is None:
        file.unlink()
    else:
        file.write_text(text)
    with pytest.raises(InputError, match=words) as caught:
        open_ijb(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("inner", [".", "Testing_Set", "tinyface/Testing_Set"])
def test_tinyface_is_found_where_it_is_and_by_its_lists_or_names(tmp_path, inner):
    write_tinyface(tmp_path / inner)
    listed = open_tinyface(tmp_path)
    assert listed.counts == (8, 8, 5) and "8 probes, 8 images in the gallery, 5 distractors" in listed.said
    assert set(listed.person[:16].tolist()) == {1, 2, 3, 4}
    assert listed.person[16:].tolist() == [-1, -2, -3, -4, -5]
    for file in (tmp_path / inner).glob("*.mat"):
        file.unlink()
    named = open_tinyface(tmp_path)
    assert dict(zip(named.paths, named.person, strict=True)) == dict(zip(listed.paths, listed.person, strict=True))
    shutil.rmtree(tmp_path / inner / "Gallery_Distractor")
    assert "no distractors (Gallery_Distractor is missing)" in open_tinyface(tmp_path).said


def test_every_image_of_tinyface_is_a_row(tmp_path):
    write_tinyface(tmp_path, lists=False)
    benchmark = open_tinyface(tmp_path)
    rows = points(benchmark.person)
    found = search_tinyface(rows, benchmark)
    assert (found.people, found.gallery_images, found.known_probes, found.distractors) == (4, 8, 8, 5)
    units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    scores = units[8:16] @ units[[*range(8), *range(16, 21)]].T
    whose = benchmark.person[[*range(8), *range(16, 21)]]
    assert found.rank1 == np.mean(whose[scores.argmax(axis=1)] == benchmark.person[8:16])
    assert 0 < found.mean_average_precision <= 1 and "mAP" in found.lines("tinyface")[0]
    more = search_tinyface(rows, benchmark, crowd(points(np.arange(9)), np.arange(9)))
    assert more.distractors == 14 and more.rank1 <= found.rank1


def test_an_aligned_copy_with_other_endings_goes_with_the_published_lists(tmp_path):
    """What the lists do not name is skipped, and reported."""
    write_tinyface(tmp_path)
    write_list(tmp_path / "probe_img_ID_pairs.mat", "probe", ["1_7.jpg", "2_7.jpg"], [4, 3])
    found = open_tinyface(tmp_path)
    assert found.counts == (8, 2, 5) and found.person[8:10].tolist() == [4, 3]  # the list takes precedence over names
    assert found.skipped_files.lines() == ["skipped: 6 files (6 in Probe that probe_img_ID_pairs.mat does not list)"]


def broken_list(folder, kind: str) -> None:
    file = folder / "probe_img_ID_pairs.mat"
    if kind == "text":
        file.write_text("no matrix")
    elif kind == "cut":
        file.write_bytes(file.read_bytes()[:200])
    elif kind == "other":
        shutil.copy(folder / "gallery_match_img_ID_pairs.mat", file)
    elif kind == "gone":
        write_list(file, "probe", ["1_7.png", "9_9.png"])
    elif kind == "twice":
        write_list(file, "probe", ["1_7.png", "1_7.png"])
    elif kind == "half":
        write_list(file, "probe", ["1_7.png", "1_8.png"], [1.5, 2])
    elif kind == "negative":
        write_list(file, "probe", ["1_7.png"], [-1])
    elif kind == "short":
        write_list(file, "probe", ["1_7.png", "1_8.png"], [1])


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("text", "is not a readable MATLAB file"),
        ("cut", "is not a readable MATLAB file"),
        ("other", "does not hold probe_set and probe_ids"),
        ("gone", r"1 of 2 images are missing from Probe, e\.g\. 9_9\.png"),
        ("twice", "1_7 is listed twice"),
        ("half", "an invalid name or person number"),
        ("negative", "an invalid name or person number"),
        ("short", "2 names in probe_set and 1 numbers in probe_ids"),
    ],
)
def test_errors_in_a_matlab_list_are_reported(tmp_path, kind, words):
    write_tinyface(tmp_path)
    broken_list(tmp_path, kind)
    with pytest.raises(InputError, match=words) as caught:
        open_tinyface(tmp_path)
    assert "\n" not in str(caught.value)


def test_names_without_a_person_and_invalid_folders_are_refused(tmp_path):
    with pytest.raises(InputError, match="does not hold Gallery_Match and Probe"):
        open_tinyface(tmp_path)
    write_tinyface(tmp_path, lists=False)
    write_faces(tmp_path / "Probe", ["somebody.png"])
    with pytest.raises(InputError, match=r"somebody\.png: its name has no identity"):
        open_tinyface(tmp_path)
    shutil.rmtree(tmp_path / "Probe")
    (tmp_path / "Probe").mkdir()
    with pytest.raises(InputError, match="Probe: holds no image"):
        open_tinyface(tmp_path)


def test_distractors_are_people_or_loose_images(tmp_path):
    write_faces(tmp_path / "people", ["ann/1.png", "ann/2.png", "bo/1.png"])
    found = open_distractors(str(tmp_path / "people"))
    assert found.person.tolist() == [0, 0, 1] and found.names == {"ann", "bo"}
    assert "2 people as distractors" in found.description
    write_faces(tmp_path / "loose", ["1.png", "2.png"])
    loose = open_distractors(str(tmp_path / "loose"))
    assert loose.person.tolist() == [0, 1] and "each of a different person" in loose.description
    made = open_distractors("synthetic:identities=3,images=2,seed=1")
    assert made.person.tolist() == [0, 0, 1, 1, 2, 2] and made.images[5].shape == (112, 112, 3)
    with pytest.raises(InputError):
        open_distractors(str(tmp_path / "nowhere"))
