"""The JSON interface described, OpenAPI 3.1: what `/openapi.json` says."""

from __future__ import annotations

from typing import Any

from adaptface_jax.core.version import __version__
from adaptface_jax.data.decode import MAX_PIXELS
from adaptface_jax.serve.answers import MOST, TOP
from adaptface_jax.serve.uploads import FORM, KINDS, PHOTOGRAPH_BYTES, PHOTOGRAPHS

Schema = dict[str, Any]

NUMBER: Schema = {"type": "number"}
TEXT: Schema = {"type": "string"}
WHETHER: Schema = {"type": "boolean"}
COUNT: Schema = {"type": "integer", "minimum": 0}


def said(schema: Schema, description: str) -> Schema:
    return {**schema, "description": description}


def or_null(schema: Schema) -> Schema:
    return {**schema, "type": [schema["type"], "null"]}


def listed(schema: Schema) -> Schema:
    return {"type": "array", "items": schema}


def record(fields: dict[str, Schema], optional: tuple[str, ...] = ()) -> Schema:
    """An object with these fields and no others."""
    required = [name for name in fields if name not in optional]
    return {"type": "object", "properties": fields, "required": required, "additionalProperties": False}


def named(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


RATE = said(or_null(TEXT), "false accept rate, such as 1e-3; null for a threshold chosen by hand")
THRESHOLD = {
    "value": said(NUMBER, "a squared distance of unit embeddings, 0..4"),
    "far": RATE,
    "benchmark": said(or_null(TEXT), "where it was measured"),
}
RISK = said(TEXT, "what the threshold means, in words")
SAYS = said(TEXT, "the outcome, in words")
NOTE = said(or_null(TEXT), "what makes the threshold doubtful")
SURE = said(WHETHER, "whether it passes where at most 1 stranger in 100 does")
LIKELIHOOD = said(
    or_null(
        record(
            {
                "ratio": said(NUMBER, "how many times likelier the distance is of one person than of two"),
                "limit": said(TEXT, 'at least or at most, where the pairs of the benchmark cannot tell; else ""'),
                "low": said(NUMBER, "the least that they can tell"),
                "high": said(NUMBER, "the most"),
                "says": SAYS,
            }
        )
    ),
    "by the pairs of the benchmark; null where none were kept, and for thresholds of a site",
)
SEEN = {
    "aligned": said(WHETHER, "whether the face was found and aligned; else the whole image was taken as a crop"),
    "faces": said(or_null(COUNT), "how many were found, of which the largest is taken"),
    "crop": said(TEXT, "with crops=true: what the model sees, PNG in base64"),
}
GATES = said(
    {"type": "object", "additionalProperties": NUMBER}, "of DA-LoRA: the weight of each expert, which sum to 1"
)
MODEL = said(
    record({"run": TEXT, "step": COUNT, "backbone": TEXT, "fingerprint": TEXT}),
    "embeddings of one fingerprint can be compared with each other",
)

SCHEMAS: dict[str, Schema] = {
    "Error": record({"error": said(TEXT, "one line: what was wrong, and what was expected")}),
    "Threshold": record(THRESHOLD),
    "About": record(
        {
            "model": MODEL,
            "aligns": said(WHETHER, "whether faces are found and aligned; else photographs are taken as aligned crops"),
            "crop_sizes": said(listed(COUNT), "squares of so many pixels are taken as aligned crops in any case"),
            "most_pixels": said(COUNT, "of a photograph"),
            "people": said(or_null(COUNT), "in the index; null where none is open"),
            "threshold": said(named("Threshold"), "what decides where a request does not say"),
            "risk": RISK,
            "note": NOTE,
            "thresholds": said(listed(record({**THRESHOLD, "risk": RISK})), "those that `far` chooses from"),
        }
    ),
    "Embedded": record({**SEEN, "gates": GATES, "embedding": said(listed(NUMBER), "unit length")}, ("crop", "gates")),
    "Embeddings": record({"model": MODEL, "images": listed(named("Embedded"))}),
    "Seen": record({**SEEN, "gates": GATES}, ("crop", "gates")),
    "Decision": record(
        {
            "model": MODEL,
            "images": said(listed(named("Seen")), "the first and the second"),
            "similarity": said(NUMBER, "cosine, -1..1"),
            "squared_distance": said(NUMBER, "2 - 2 * similarity"),
            "threshold": named("Threshold"),
            "same": said(WHETHER, "whether the squared distance is below the threshold"),
            "says": SAYS,
            "sure": SURE,
            "risk": RISK,
            "likelihood": LIKELIHOOD,
            "note": NOTE,
        }
    ),
    "Hit": record({"name": TEXT, "similarity": NUMBER, "same": said(WHETHER, "whether it passes")}),
    "Search": record(
        {
            "model": MODEL,
            "image": named("Seen"),
            "people": said(COUNT, "in the index"),
            "hits": said(listed(named("Hit")), "the best first"),
            "threshold": named("Threshold"),
            "says": SAYS,
            "sure": SURE,
            "risk": RISK,
            "false_hit_chance": said(
                or_null(NUMBER), "that a stranger's photograph finds somebody: 1 - (1 - FAR)^people"
            ),
            "note": NOTE,
        }
    ),
}

PHOTOGRAPH: Schema = {"type": "string", "format": "binary"}
CHOICE = {
    "far": said(NUMBER, "decide at this false accept rate"),
    "threshold": said(NUMBER, "or at this squared distance, 0..4"),
}
CROPS = {"crops": said(WHETHER, "whether to answer with what the model sees [false]")}
ERRORS = {
    400: "the form cannot be read",
    403: "a page from elsewhere asked",
    408: "the form took too long to arrive",
    413: f"over {PHOTOGRAPH_BYTES >> 20} MiB or {MAX_PIXELS // 10**6} million pixels, or more than {PHOTOGRAPHS} files",
    415: f"no {FORM}, or a file that is no image of a known form ({KINDS})",
    421: "the Host header names another server",
    422: "a photograph that cannot be decoded or shows no face, or a field that is wrong",
    503: "too many requests at once; Retry-After says when to try again",
}


def answer(schema: str) -> dict[str, Any]:
    return {"description": "OK", "content": {"application/json": {"schema": named(schema)}}}


def post(summary: str, answers: str, fields: dict[str, Schema], required: list[str], **more: str) -> dict[str, Any]:
    """A path that takes a form. more: errors of its own, `e404="..."`."""
    form = {"type": "object", "properties": fields, "required": required}
    errors = ERRORS | {int(name[1:]): text for name, text in more.items()}
    responses = {
        str(status): {"description": text, "content": {"application/json": {"schema": named("Error")}}}
        for status, text in sorted(errors.items())
    }
    return {
        "post": {
            "summary": summary,
            "requestBody": {"required": True, "content": {FORM: {"schema": form}}},
            "responses": {"200": answer(answers), **responses},
        }
    }


DESCRIPTION: dict[str, Any] = {
    "openapi": "3.1.0",
    "info": {
        "title": "adaptface serve",
        "version": __version__,
        "description": "Faces embedded, compared and searched by one run. Nothing that is sent is kept.",
    },
    "paths": {
        "/about": {"get": {"summary": "The run, its thresholds and the index", "responses": {"200": answer("About")}}},
        "/embed": post(
            "Embeddings of photographs",
            "Embeddings",
            {"image": {"type": "array", "items": PHOTOGRAPH, "minItems": 1, "maxItems": PHOTOGRAPHS}, **CROPS},
            ["image"],
        ),
        "/verify": post(
            "Do two photographs pass as one person?",
            "Decision",
            {"first": PHOTOGRAPH, "second": PHOTOGRAPH, **CHOICE, **CROPS},
            ["first", "second"],
        ),
        "/search": post(
            "The people of the index most like a photograph",
            "Search",
            {
                "image": PHOTOGRAPH,
                "top": {"type": "integer", "minimum": 1, "maximum": MOST, "description": f"people named [{TOP}]"},
                **CHOICE,
                **CROPS,
            },
            ["image"],
            e404="no index is open",
        ),
    },
    "components": {"schemas": SCHEMAS},
}
