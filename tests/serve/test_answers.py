"""The answers of the JSON interface: the numbers of the Python interface, in the form that /openapi.json promises."""

from __future__ import annotations

import base64
import dataclasses
import io

import jax
import numpy as np
import pytest
from PIL import Image

import adaptface_jax as af
from adaptface_jax.api.rule import OF_ANOTHER, Rule
from adaptface_jax.evaluation.likelihood import Calibration
from adaptface_jax.evaluation.risk import Risk
from tests.serve.conftest import asked

# The extra `serve`, and its client.
pytest.importorskip("starlette")
pytest.importorskip("httpx")


def fits(value, schema, schemas) -> bool:
    """Whether a value matches one of our OpenAPI schemas."""
    if "$ref" in schema:
        return fits(value, schemas[schema["$ref"].rpartition("/")[2]], schemas)
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    if value is None:
        return "null" in kinds
    kind = kinds[0]
    if kind == "array":
        return isinstance(value, list) and all(fits(item, schema["items"], schemas) for item in value)
    if kind == "object":
        known, others = schema.get("properties", {}), schema.get("additionalProperties")
        return set(schema.get("required", ())) <= set(value) and all(
            fits(item, known[name], schemas) if name in known else bool(others) and fits(item, others, schemas)
            for name, item in value.items()
        )
    types = {"string": str, "boolean": bool, "integer": int, "number": (int, float)}
    return isinstance(value, types[kind]) and (kind == "boolean") == isinstance(value, bool)


@pytest.fixture
def told(ask):
    """told(method, path, ...) -> the answer, checked against its schema."""
    description = ask("GET", "/openapi.json").json()
    schemas = description["components"]["schemas"]

    def tell(method, path, **options):
        response = ask(method, path, **options)
        promised = description["paths"][path][method.lower()]["responses"][str(response.status_code)]
        (content,) = promised["content"].values()
        assert fits(response.json(), content["schema"], schemas), response.text
        assert response.headers["content-type"] == "application/json"
        return response

    return tell


def test_a_pair_is_decided_as_from_python(told, model, files, crops):
    pair = {"first": files[0], "second": files[1]}
    answer = told("POST", "/verify", files=pair, data={"far": "1e-1"}).json()
    decision = model.verify(crops[0], crops[1], far=1e-1)
    assert answer["similarity"] == pytest.approx(decision.similarity, abs=1e-6)
    assert answer["same"] is True and answer["threshold"] == {"value": 4.0, "far": "1e-1", "benchmark": "lfw"}
    assert answer["note"] == "the threshold was measured at step 9, this is the checkpoint of step 7"
    gates = [list(image["gates"].values()) for image in answer["images"]]
    np.testing.assert_allclose(gates, decision.gates, atol=1e-5)
    assert list(answer["images"][0]["gates"]) == ["pose", "age", "light"]
    assert "crop" not in answer["images"][0]


def test_the_words_are_no_stronger_than_the_threshold(told, files):
    def said(second, **fields):
        pair = {"first": files[0], "second": second}
        answer = told("POST", "/verify", files=pair, data=fields).json()
        return answer["says"], answer["risk"]

    strangers = "at this threshold 1 stranger in {} passes, measured on lfw: 600 pairs"
    assert said(files[1], far="1e-1") == ("They pass, but so does 1 stranger in 10", strangers.format(10))
    assert said(files[1]) == ("They do not pass as the same person", strangers.format(100))
    assert said(files[0]) == ("They pass as the same person", strangers.format(100))
    says, risk = said(files[1], threshold="4")
    assert says == "They pass the threshold that was set manually" and "is unknown" in risk


def judging(rule, answers, *words, **options):
    """The answer of a server that decides by this rule."""
    from adaptface_jax.serve.answers import Answers
    from adaptface_jax.serve.app import application

    return asked(application(Answers(answers._model, rule, {}, answers._index)), *words, **options).json()


def test_the_likelihood_ratio_is_that_of_verify(told, answers, model, files, crops):
    distance, truth = np.linspace(0, 4, 40), np.arange(40) < 20
    rule = dataclasses.replace(model.rule(), calibration=Calibration(distance, truth))
    pair = {"first": files[0], "second": files[0]}
    expected = model.compare(tuple(model.photograph(crop, align=False) for crop in crops[[0, 0]]), rule).likelihood
    for fields in ({}, {"threshold": "1"}):
        found = judging(rule, answers, "POST", "/verify", files=pair, data=fields)["likelihood"]
        assert found == {**dataclasses.asdict(expected), "says": f"likelihood ratio {expected}"}
    assert told("POST", "/verify", files=pair).json()["likelihood"] is None


def test_a_threshold_of_this_site_and_another_model_claims_no_risk(answers, files):
    rule = Rule(af.Threshold(4.0, "1e-2"), risk=Risk(1e-2, None, "this site"), fingerprint="another")
    pair = {"first": files[0], "second": files[1]}
    decision = judging(rule, answers, "POST", "/verify", files=pair)
    search = judging(rule, answers, "POST", "/search", files={"image": files[1]})
    for answer in (decision, search, judging(rule, answers, "GET", "/about")):
        assert answer["note"] == OF_ANOTHER and answer["risk"].endswith("is unknown")
    assert decision["same"] and not decision["sure"] and decision["says"] == "They pass the threshold"
    assert search["false_hit_chance"] is None and "how often a stranger does is unknown" in search["says"]


def test_a_photograph_is_embedded_as_from_python(told, model, files, crops):
    answer = told("POST", "/embed", files=[("image", data) for data in files[:3]], data={"crops": "true"}).json()
    found = np.array([image["embedding"] for image in answer["images"]], np.float32)
    np.testing.assert_allclose(found, model.embed(crops[:3]).embeddings, atol=1e-6)
    assert answer["model"] == {"run": "dalora", "step": 7, "backbone": "demo", "fingerprint": model.fingerprint}
    crop = np.asarray(Image.open(io.BytesIO(base64.b64decode(answer["images"][2]["crop"]))))
    np.testing.assert_array_equal(crop, crops[2])


def test_a_person_is_found_in_the_index(told, files):
    answer = told("POST", "/search", files={"image": files[1]}, data={"top": "1"}).json()
    (hit,) = answer["hits"]
    assert hit["name"] == "bert" and hit["same"] and hit["similarity"] == pytest.approx(1, abs=1e-5)
    assert answer["says"] == "bert is the most similar, and passes; so do 2% of strangers"
    assert not answer["sure"] and answer["people"] == 2
    assert answer["false_hit_chance"] == pytest.approx(1 - 0.99**2)
    nobody = told("POST", "/search", files={"image": files[2]}).json()
    assert [hit["same"] for hit in nobody["hits"]] == [False, False]
    assert nobody["says"] == "Nobody in the index passes"


def test_without_an_index_there_is_no_search(answers, model, files):
    from adaptface_jax.serve.answers import Answers
    from adaptface_jax.serve.app import application

    app = application(Answers(model, model.rule(), {}))
    assert asked(app, "GET", "/about").json()["people"] is None
    answer = asked(app, "POST", "/search", files={"image": files[0]})
    assert answer.status_code == 404 and "--index" in answer.json()["error"]


def test_about_lists_the_model_and_its_thresholds(told):
    about = told("GET", "/about").json()
    assert about["people"] == 2 and 112 in about["crop_sizes"]
    assert [(known["far"], known["value"]) for known in about["thresholds"]] == [("1e-1", 4.0), ("1e-2", 1e-9)]
    assert about["threshold"]["far"] == "1e-2"


def test_nothing_is_compiled_for_a_request(told, files):
    compiled = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            jax.monitoring, "record_event_duration_secs", lambda name, *_, **__: compiled.append(name), raising=True
        )
        for count in (1, 2, 5):
            told("POST", "/embed", files=[("image", data) for data in (files * 2)[:count]])
        for top in ("1", "2", "20"):
            told("POST", "/search", files={"image": files[0]}, data={"top": top})
        told("POST", "/verify", files={"first": files[0], "second": files[1]})
    assert not [name for name in compiled if "compile" in name]
