"""IJB's 1:1 protocol on a miniature set, against a plain loop, and its lists."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_curve

from adaptface_jax.core.errors import InputError
from adaptface_jax.data.benchmarks.ijb import Cropped, open_ijb
from adaptface_jax.evaluation import templates
from adaptface_jax.evaluation.templates import pair_scores, score_templates, template_embeddings, unscored_line

from .forms import write_faces

PEOPLE, WIDTH = 12, 8


@pytest.fixture
def folder(tmp_path):
    """Three templates of each of 12 people: of photographs, of the frames of a video, of both; numbers with gaps."""
    rng = np.random.default_rng(0)
    rows, points, number = [], [], 0
    for person in range(PEOPLE):
        for place in range(3):
            for _ in range(int(rng.integers(1, 6))):
                number += 1
                medium = 900 + number if place == 0 else 50 + number % 2 * place
                rows.append(f"{number}.png {7 * person + place + 3} {medium}")
                points.append(f"{number}.png {' '.join(f'{v:.2f}' for v in rng.uniform(0, 8, 10))} {rng.uniform():.4f}")
    rows.append(rows[0].replace(" 3 ", " 4 "))  # one image in two templates
    rng.shuffle(rows)
    known = [7 * person + place + 3 for person in range(PEOPLE) for place in range(3)]
    pairs = [f"{a} {b} {int((a - 3) // 7 == (b - 3) // 7)}" for a in known for b in known if a != b]
    (tmp_path / "meta").mkdir()
    write_faces(tmp_path / "loose_crop", [f"{i + 1}.png" for i in range(number)])
    for name, lines in (("face_tid_mid", rows), ("template_pair_label", pairs), ("name_5pts_score", points)):
        (tmp_path / "meta" / f"ijbc_{name}.txt").write_text("\n".join(lines) + "\n")
    return tmp_path


def embedded(benchmark) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings of a person's faces are similar; lengths vary like a network's."""
    rng, person = np.random.default_rng(1), np.zeros(len(benchmark.images), int)
    person[benchmark.image] = (benchmark.names[benchmark.template] - 3) // 7
    centers = rng.normal(size=(PEOPLE, WIDTH))
    points = (centers[person] + rng.normal(size=(len(person), WIDTH))) * rng.uniform(0.5, 20, (len(person), 1))
    return points.astype(np.float32), rng.normal(size=points.shape).astype(np.float32)


def plain_loop(folder, embeddings, keys) -> tuple[dict[int, np.ndarray], list[float], list[int]]:
    """The protocol as published, from the files."""
    quality = {line.split()[0]: float(line.split()[-1]) for line in read(folder, "name_5pts_score")}
    media: dict[int, dict[int, list[np.ndarray]]] = {}
    for line in read(folder, "face_tid_mid"):
        name, template, medium = line.split()
        vector = embeddings[keys.index(name)].astype(float) * quality[name]
        media.setdefault(int(template), {}).setdefault(int(medium), []).append(vector)
    units = {}
    for template, found in media.items():
        total = np.sum([np.mean(vectors, axis=0) for vectors in found.values()], axis=0)
        units[template] = total / np.linalg.norm(total)
    pairs = [tuple(map(int, line.split())) for line in read(folder, "template_pair_label")]
    return units, [float(units[a] @ units[b]) for a, b, _ in pairs], [same for _, _, same in pairs]


def read(folder, name) -> list[str]:
    return (folder / "meta" / f"ijbc_{name}.txt").read_text().splitlines()


def test_templates_and_scores_are_those_of_a_plain_loop(folder, monkeypatch):
    benchmark = open_ijb(folder)
    embeddings, mirrored = embedded(benchmark)
    units, scores, labels = plain_loop(folder, embeddings + mirrored, list(benchmark.keys))
    whole = template_embeddings(embeddings + mirrored, benchmark)
    together = pair_scores(whole, benchmark.pairs)
    monkeypatch.setattr(templates, "_BLOCK", 7)  # of 1,260 pairs, and of templates with up to ten faces
    found = template_embeddings(embeddings + mirrored, benchmark)
    np.testing.assert_allclose(found, [units[name] for name in benchmark.names], atol=1e-6)
    np.testing.assert_array_equal(found, whole)
    np.testing.assert_allclose(pair_scores(found, benchmark.pairs), scores, atol=1e-6)
    np.testing.assert_allclose(pair_scores(found, benchmark.pairs), together, rtol=0, atol=1e-7)
    entry = score_templates(found, benchmark)
    assert (entry.templates, entry.pairs, entry.images) == (36, 1260, len(benchmark.images))
    assert list(entry.tar_at_far) == ["1e-1", "1e-2", "1e-3", "1e-4", "1e-5", "1e-6"]
    far, tar, _ = roc_curve(labels, scores, drop_intermediate=False)
    for name, target in (("1e-1", 0.1), ("1e-2", 0.01)):
        assert entry.tar_at_far[name] == pytest.approx(tar[far <= target].max())
    assert entry.tar_at_far["1e-3"] is None  # 1,188 impostor pairs


def test_without_detector_scores_every_face_counts_the_same(folder):
    (folder / "meta" / "ijbc_name_5pts_score.txt").unlink()
    benchmark = open_ijb(folder)
    assert benchmark.quality is benchmark.points is None
    embeddings, _ = embedded(benchmark)
    found = template_embeddings(embeddings, benchmark)
    row = int(np.flatnonzero(np.bincount(benchmark.template) == 1)[0])
    alone = embeddings[benchmark.image[benchmark.template == row][0]]
    np.testing.assert_allclose(found[row], alone / np.linalg.norm(alone), atol=1e-6)


def test_loose_crops_are_cut_by_their_landmarks_and_crops_are_left_alone(folder):
    benchmark = open_ijb(folder)
    seen = []

    def crop(image, points):
        seen.append((image.shape, points.shape))
        return np.zeros((112, 112, 3), np.uint8)

    assert Cropped(benchmark, crop)[0].shape == (112, 112, 3)
    assert seen == [((8, 8, 3), (5, 2))]
    aligned = np.ones((112, 112, 3), np.uint8)
    whole = type(benchmark)(**vars(benchmark) | {"images": [aligned]})
    assert Cropped(whole, crop)[0] is aligned


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("face_tid_mid", "1.png 3\n", "line 1, '1.png 3': is not a face"),
        ("face_tid_mid", "", "lists no face"),
        ("face_tid_mid", "gone.png 3 1\n", "template 4 has no face|images are missing"),
        ("template_pair_label", "3 4 1\n3 11 0\n3 four 0\n", "line 3, .* is not a pair of templates"),
        ("template_pair_label", "3 4 1\n3 11\n0 3 11 0\n", "line 2, .* is not a pair of templates"),
        ("template_pair_label", "", "lists no pair"),
        ("template_pair_label", "3 4 1\n3 11 2\n", "pair 2 has the label 2"),
        ("template_pair_label", "3 4 1\n3 999 0\n", "template 999 has no face"),
        ("template_pair_label", "3 4 1\n", "one kind"),
        ("name_5pts_score", "1.png 1 2 3\n", "line 1, .* is not a list of landmarks"),
        ("name_5pts_score", "1.png 1 2 3 4 5 6 7 8 9 10 0.9\n", "has no landmarks"),
    ],
)
def test_errors_in_a_list_are_reported(folder, name, text, words):
    (folder / "meta" / f"ijbc_{name}.txt").write_text(text)
    with pytest.raises(InputError, match=words) as caught:
        open_ijb(folder)
    assert "\n" not in str(caught.value)


def test_missing_lists_and_images_are_named(folder):
    (folder / "loose_crop" / "2.png").unlink()
    with pytest.raises(InputError, match=r"1 of \d+ images are missing, e\.g\. .*2\.png"):
        open_ijb(folder)
    (folder / "meta" / "ijbc_face_tid_mid.txt").unlink()
    with pytest.raises(InputError, match=r"no file is named \*_face_tid_mid\.txt"):
        open_ijb(folder)
    with pytest.raises(InputError, match="is not a folder"):
        open_ijb(folder / "nowhere")


def test_a_template_without_a_detector_score_weights_its_faces_equally(folder):
    """As if all had the same score; it is named."""
    file = folder / "meta" / "ijbc_name_5pts_score.txt"
    of_template = {line.split()[0] for line in read(folder, "face_tid_mid") if line.split()[1] == "5"}
    texts = {}
    for score in ("0.0", "0.5"):
        rows = [line.split() for line in read(folder, "name_5pts_score")]
        texts[score] = "\n".join(" ".join([*row[:-1], score if row[0] in of_template else "0.9"]) for row in rows)
    found = {}
    for score, text in texts.items():
        file.write_text(text)
        benchmark = open_ijb(folder)
        found[score] = template_embeddings(embedded(benchmark)[0], benchmark)
        assert (unscored_line(benchmark) == "") == (score != "0.0")
    np.testing.assert_allclose(found["0.0"], found["0.5"], rtol=0, atol=1e-6)
    file.write_text(texts["0.0"])
    assert unscored_line(open_ijb(folder)).startswith("template 5: all detector scores are 0")
