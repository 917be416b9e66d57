"""The description of the JSON interface, OpenAPI 3.1, served as `/openapi.json`."""

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


def described(schema: Schema, description: str) -> Schema:
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


RATE = described(or_null(TEXT), "false accept rate, such as 1e-3; null for a threshold set manually")
THRESHOLD = {
    "value": described(NUMBER, "a squared distance between unit embeddings, 0..4"),
    "far": RATE,
    "benchmark": described(or_null(TEXT), "where it was measured"),
}
RISK = described(TEXT, "what the threshold means, in words")
SAYS = described(TEXT, "the outcome, in words")
NOTE = described(or_null(TEXT), "a caveat about the threshold")
SURE = described(WHETHER, "whether it passes where at most 1 stranger in 100 does")
LIKELIHOOD = described(
    or_null(
        record(
            {
                "ratio": described(NUMBER, "how many times likelier the distance is for one person than for two"),
                "limit": described(TEXT, 'at least or at most, where the pairs of the benchmark set a limit; else ""'),
                "low": described(NUMBER, "the least they can show"),
                "high": described(NUMBER, "the most"),
                "says": SAYS,
            }
        )
    ),
    "by the benchmark's pairs; null where none were kept, and for thresholds of a site",
)
SEEN = {
    "aligned": described(WHETHER, "whether the face was found and aligned; else the whole image was used as a crop"),
    "faces": described(or_null(COUNT), "how many were found, of which the largest is used"),
    "crop": described(TEXT, "with crops=true: what the model sees, PNG in base64"),
}
GATES = described(
    {"type": "object", "additionalProperties": NUMBER}, "for DA-LoRA: the weights of the experts, which sum to 1"
)
MODEL = described(
    record({"run": TEXT, "step": COUNT, "backbone": TEXT, "fingerprint": TEXT}),
    "embeddings with the same fingerprint can be compared",
)

SCHEMAS: dict[str, Schema] = {
    "Error": record({"error": described(TEXT, "one line: what was wrong, and what was expected")}),
    "Threshold": record(THRESHOLD),
    "About": record(
        {
            "model": MODEL,
            "aligns": described(WHETHER, "whether faces are found and aligned; else they count as aligned crops"),
            "crop_sizes": described(listed(COUNT), "squares with these sides always count as aligned crops"),
            "most_pixels": described(COUNT, "of a photograph"),
            "people": described(or_null(COUNT), "in the index; null where none is open"),
            "threshold": described(named("Threshold"), "what decides unless a request says otherwise"),
            "risk": RISK,
            "note": NOTE,
            "thresholds": described(listed(record({**THRESHOLD, "risk": RISK})), "those that `far` chooses from"),
        }
    ),
    "Embedded": record(
        {**SEEN, "gates": GATES, "embedding": described(listed(NUMBER), "unit length")}, ("crop", "gates")
    ),
    "Embeddings": record({"model": MODEL, "images": listed(named("Embedded"))}),
    "Seen": record({**SEEN, "gates": GATES}, ("crop", "gates")),
    "Decision": record(
        {
            "model": MODEL,
            "images": described(listed(named("Seen")), "the first and the second"),
            "similarity": described(NUMBER, "cosine, -1..1"),
            "squared_distance": described(NUMBER, "2 - 2 * similarity"),
            "threshold": named("Threshold"),
            "same": described(WHETHER, "whether the squared distance is below the threshold"),
            "says": SAYS,
            "sure": SURE,
            "risk": RISK,
            "likelihood": LIKELIHOOD,
            "note": NOTE,
        }
    ),
    "Hit": record({"name": TEXT, "similarity": NUMBER, "same": described(WHETHER, "whether it passes")}),
    "Search": record(
        {
            "model": MODEL,
            "image": named("Seen"),
            "people": described(COUNT, "in the index"),
            "hits": described(listed(named("Hit")), "best first"),
            "threshold": named("Threshold"),
            "says": SAYS,
            "sure": SURE,
            "risk": RISK,
            "false_hit_chance": described(
                or_null(NUMBER), "that a stranger's photograph matches somebody: 1 - (1 - FAR)^people"
            ),
            "note": NOTE,
        }
    ),
}

PHOTOGRAPH: Schema = {"type": "string", "format": "binary"}
CHOICE = {
    "far": described(NUMBER, "decide at this false accept rate"),
    "threshold": described(NUMBER, "or at this squared distance, 0..4"),
}
CROPS = {"crops": described(WHETHER, "whether to return what the model sees [false]")}
ERRORS = {
    400: "the form cannot be read",
    403: "a page from another site asked",
    408: "the form took too long to arrive",
    413: f"over {PHOTOGRAPH_BYTES >> 20} MiB or {MAX_PIXELS // 10**6} million pixels, or more than {PHOTOGRAPHS} files",
    415: f"not {FORM}, or a file that is not an image of a known format ({KINDS})",
    421: "the Host header names another server",
    422: "a photograph that cannot be decoded or shows no face, or an invalid field",
    503: "too many requests at once; Retry-After says when to try again",
}


def answer(schema: str) -> dict[str, Any]:
    return {"description": "OK", "content": {"application/json": {"schema": named(schema)}}}


def post(summary: str, answers: str, fields: dict[str, Schema], required: list[str], **more: str) -> dict[str, Any]:
    """A path that takes a form. more: its own errors, `e404="..."`."""
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
        "description": "Faces embedded, compared and searched by one run. Nothing that is sent is stored.",
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
            "Do two photographs pass as the same person?",
            "Decision",
            {"first": PHOTOGRAPH, "second": PHOTOGRAPH, **CHOICE, **CROPS},
            ["first", "second"],
        ),
        "/search": post(
            "The people in the index most similar to a photograph",
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
