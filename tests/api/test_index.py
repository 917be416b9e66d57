"""People added, found, removed, saved and read back; what is refused."""

from __future__ import annotations

import concurrent.futures
import json
import shutil

import numpy as np
import pytest
from PIL import Image

import adaptface_jax as af
from adaptface_jax.evaluation.identification import person_templates

PEOPLE = {"anna": 3, "bert": 1, "chloé": 2, "dora": 5}  # images of each


@pytest.fixture(scope="module")
def shots(crops) -> dict[str, np.ndarray]:
    ends = np.cumsum(list(PEOPLE.values()))
    return {name: crops[end - count : end] for (name, count), end in zip(PEOPLE.items(), ends, strict=True)}


@pytest.fixture(scope="module")
def people_folder(shots, tmp_path_factory):
    folder = tmp_path_factory.mktemp("gallery")
    for name, images in shots.items():
        (folder / name).mkdir()
        for number, image in enumerate(images):
            Image.fromarray(image).save(folder / name / f"{number}.png")
    return folder


@pytest.fixture
def people(trained, shots) -> af.Index:
    index = trained.index()
    for name, images in shots.items():
        index.add(name, images)
    return index


def test_a_person_is_the_mean_of_the_unit_embeddings(trained, people, shots, people_folder):
    faces = trained.embed(np.concatenate(list(shots.values())))
    expected = person_templates(faces.embeddings, np.repeat(np.arange(4), list(PEOPLE.values())))
    for index in (people, trained.index(people_folder)):
        (hits,) = index.search(shots["bert"][0], top=4).hits
        assert hits[0].name == "bert" and hits[0].similarity == pytest.approx(1, abs=1e-5)
        similarity = {hit.name: hit.similarity for hit in hits}
        (probe,) = trained.embed(shots["bert"][0]).embeddings
        assert [similarity[name] for name in PEOPLE] == pytest.approx((expected @ probe).tolist(), abs=1e-5)


def test_a_folder_in_many_forward_passes_gives_complete_people(run, people_folder, trained):
    small = af.open(run, batch_size=8).index(people_folder)
    whole = trained.index(people_folder)
    assert small.people == whole.people == sorted(PEOPLE)
    for one, other in zip(small._gallery.templates(), whole._gallery.templates(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_hits_are_decided_by_the_requested_threshold(people, shots):
    images = [shots["bert"][0], shots["anna"][1]]
    found = people.search(images, top=2, far=1e-1)  # the run's threshold there is 4: everybody
    assert [hits[0].name for hits in found.hits] == ["bert", "anna"]
    assert found.threshold == af.Threshold(4.0, "1e-1", "lfw")
    assert found.note == "the threshold was measured at step 9, this is the checkpoint of step 7"
    assert all(hit.same for hits in found.hits for hit in hits)
    assert found.false_hit_chance == pytest.approx(1 - 0.9**4)
    cut = sum(2 - 2 * hit.similarity for hit in found.hits[0]) / 2  # between the first and the second
    judged = people.search(images[:1], top=2, threshold=cut)
    assert [hit.same for hit in judged.hits[0]] == [True, False] and judged.false_hit_chance is None
    assert people.search(images).threshold.far == "1e-2"  # the smallest that is known


def test_without_a_threshold_nothing_is_decided_and_this_is_reported(backbone, crops):
    index = backbone.index()
    index.add("anna", crops[:2])
    found = index.search(crops[:3])
    assert [[hit.same for hit in hits] for hits in found.hits] == [[None]] * 3
    assert found.threshold is None and found.note.startswith("nothing is decided: backbone: no threshold is stored")
    with pytest.raises(af.InputError, match="no threshold is stored"):
        index.search(crops[:1], far=1e-3)


def test_people_come_and_go(people, shots):
    people.remove("anna")
    assert people.people == ["dora", "bert", "chloé"] and "anna" not in people and len(people) == 3
    assert people.search(shots["bert"], top=1).hits[0][0].name == "bert"
    people.remove("bert")
    assert people.search(shots["bert"], top=9).hits[0][0].name != "bert"
    people.add("bert", iter(shots["bert"]))
    assert people.people == ["dora", "chloé", "bert"]
    assert people.search(shots["bert"], top=1).hits[0][0].name == "bert"
    for name in people.people:
        people.remove(name)
    assert len(people) == 0


def test_what_is_saved_is_read_back(trained, people, shots, tmp_path):
    people.remove("bert")
    people.save(tmp_path / "index")
    again = trained.load_index(tmp_path / "index")
    assert again.people == people.people
    images = [shots["dora"][0], shots["anna"][0]]
    assert again.search(images, far=0.1) == people.search(images, far=0.1)
    again.remove("dora")
    again.save(tmp_path / "index", overwrite=True)
    assert trained.load_index(tmp_path / "index").people == again.people
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index"]


def test_an_empty_index_is_saved_too(trained, tmp_path):
    trained.index().save(tmp_path / "none")
    assert len(trained.load_index(tmp_path / "none")) == 0


def test_vector_libraries_can_read_the_file(trained, people, tmp_path):
    people.save(tmp_path / "index")
    data = (tmp_path / "index" / "templates.fbin").read_bytes()
    assert np.frombuffer(data, "<i4", 2).tolist() == [4, 16]
    templates = np.frombuffer(data, "<f4", offset=8).reshape(4, 16)
    np.testing.assert_array_equal(templates, np.concatenate(list(people._gallery.templates())))
    names = [json.loads(line) for line in (tmp_path / "index" / "names.jsonl").read_text().splitlines()]
    assert names == people.people


def test_usearch_reads_it(people, shots, trained, tmp_path):
    usearch = pytest.importorskip("usearch.index", reason="usearch is not installed")
    from usearch.io import load_matrix

    people.save(tmp_path / "index")
    matrix = load_matrix(str(tmp_path / "index" / "templates.fbin"))
    found = usearch.search(matrix, trained.embed(shots["chloé"]).embeddings, 1, usearch.MetricKind.IP, exact=True)
    assert [people.people[key] for key in found.keys.ravel()] == ["chloé"] * 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda folder: (folder / "templates.fbin").unlink(), "holds no face index (no templates.fbin)"),
        (lambda folder: (folder / "names.jsonl").write_text('"x"\n' * 4), "the index is corrupted (names.jsonl"),
        (lambda folder: (folder / "manifest.json").unlink(), "the index is corrupted (it has no manifest.json"),
        (lambda folder: (folder / "manifest.json").write_text("{}"), "the index is corrupted (its manifest.json"),
        (lambda folder: (folder / "templates.fbin").write_bytes(b"\0" * 264), "the content of templates.fbin"),
        (lambda folder: (folder / "templates.fbin").write_bytes(b"\0" * 9), "templates.fbin has 9 bytes"),
        (shutil.rmtree, "holds no face index"),
    ],
)
def test_a_corrupted_folder_gives_one_line(trained, people, tmp_path, change, said):
    people.save(tmp_path / "index")
    change(tmp_path / "index")
    with pytest.raises(af.InputError) as error:
        trained.load_index(tmp_path / "index")
    assert said in str(error.value) and str(tmp_path) in str(error.value) and "\n" not in str(error.value)


def test_an_index_of_another_model_is_refused(backbone, trained, people, run, tmp_path):
    people.save(tmp_path / "trained")
    other = backbone.index()
    other.save(tmp_path / "backbone")
    with pytest.raises(af.InputError, match=r"is the index of another model \(.*dalora, step 7\)"):
        backbone.load_index(tmp_path / "trained")
    with pytest.raises(af.InputError, match=r"is the index of another model \(backbone demo\)"):
        trained.load_index(tmp_path / "backbone")


def test_nothing_else_is_overwritten(people, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "manifest.json").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for name, overwrite, said in (
        ("full", False, "is not empty"),
        ("full", True, "holds something other than a face index"),
        ("file", True, "is a file"),
    ):
        with pytest.raises(af.InputError, match=said) as error:
            people.save(tmp_path / name, overwrite=overwrite)
        assert "--" not in str(error.value)
    assert (tmp_path / "full" / "manifest.json").read_text() == (tmp_path / "file").read_text() == "mine"


def test_refusals_give_one_line_and_change_nothing(trained, people, shots, people_folder, tmp_path):
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "broken.png").write_bytes(b"nothing")
    for act, said in (
        (lambda: people.add("anna", shots["anna"]), "anna: already in the index"),
        (lambda: people.add("new", []), "new: no image"),
        (lambda: people.add("", shots["anna"]), "name: '' is not a name"),
        (lambda: people.add(7, shots["anna"]), "name: 7 is not a name"),
        (lambda: people.add("new", ["absent.png"]), r"absent\.png: cannot be read"),
        (lambda: people.add_folder(people_folder), "anna: already in the index"),
        (lambda: people.add_folder(tmp_path), r"none of 1 image can be read; the first: .*broken\.png: cannot decode"),
        (lambda: people.add_folder(tmp_path / "new"), "no identities found"),
        (lambda: people.remove("new"), "new: not in the index"),
        (lambda: people.search(shots["anna"], top=0), "top: 0 is out of range"),
        (lambda: people.search(shots["anna"], far=1e-3), "far: 0.001 is not known"),
        (lambda: trained.index().search(shots["anna"]), "the index is empty"),
        (lambda: trained.index("absent"), "absent: cannot be listed"),
    ):
        with pytest.raises(af.InputError, match=said) as error:
            act()
        assert "\n" not in str(error.value)
    assert people.people == list(PEOPLE)


def test_threads_search_while_others_add_and_remove(people, shots):
    def search(_: int) -> str:
        return people.search(shots["bert"], top=1, threshold=1.0).hits[0][0].name

    def change(number: int) -> None:
        people.add(f"new {number}", shots["dora"])
        people.remove(f"new {number}")

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        changes = [pool.submit(change, number) for number in range(12)]
        assert set(pool.map(search, range(40))) == {"bert"}
        for done in changes:
            done.result()
    assert people.people == list(PEOPLE)


def test_images_missed_in_a_folder_of_people_are_warned_of(backbone, crops, tmp_path):
    for name in ("anna/1.png", "loose.png", "Thumbs.db"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(crops[0]).save(tmp_path / name, "PNG")
    people = backbone.index()
    with pytest.warns(UserWarning, match=r"skipped: 2 files \(1 outside any identity folder, 1 \.db\)$"):
        people.add_folder(tmp_path)
    assert people.people == ["anna"]


def test_unreadable_images_in_a_folder_of_people_are_left_out_and_named(run, people_folder, shots, tmp_path):
    model = af.open(run, batch_size=8)
    folder = tmp_path / "people"
    shutil.copytree(people_folder, folder)
    (folder / "aron").mkdir()
    for name in ("anna/0.png", "aron/0.png", "dora/4.png", "dora/5.png"):
        (folder / name).write_bytes(b"nothing")
    with pytest.warns(UserWarning, match="left out|skipped") as said:
        index = model.index(folder)
    lost, unread = (str(one.message) for one in said)
    assert lost == "1 person without a usable image, left out: aron"
    assert unread.startswith("not usable: 4 images, skipped\n") and unread.count("cannot decode") == 4
    assert index.people == sorted(PEOPLE)
    own = {"anna": shots["anna"][1:], "bert": shots["bert"], "chloé": shots["chloé"], "dora": shots["dora"][:4]}
    expected = model.index()
    for name in sorted(own):
        expected.add(name, own[name])
    for one, other in zip(index._gallery.templates(), expected._gallery.templates(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
