"""A run's answers about photographs, as plain values for JSON."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from adaptface_jax.align.detector import Detector
from adaptface_jax.align.geometry import CROP_SIZE
from adaptface_jax.api.arguments import named_in_python
from adaptface_jax.api.face_model import FaceModel
from adaptface_jax.api.hits import Hit
from adaptface_jax.api.index import Index
from adaptface_jax.api.photographs import Align, Photograph
from adaptface_jax.api.rule import Rule
from adaptface_jax.core.errors import InputError
from adaptface_jax.data.decode import MAX_PIXELS, to_size
from adaptface_jax.evaluation.risk import TELLING, is_telling, per_one
from adaptface_jax.evaluation.thresholds import Threshold, known_at
from adaptface_jax.serve.refusal import Refused

TOP, MOST = 5, 20  # people listed by a search: by default, and at most


class Answers:
    """Used by one thread at a time.

    model: opened for passes of one size, so that nothing is compiled after `warm_up`.
    rule: what decides unless a request says otherwise. known: the rules that a request may choose by FAR.
    index: to search; None disables search.
    """

    def __init__(self, model: FaceModel, rule: Rule, known: Mapping[str, Rule], index: Index | None = None) -> None:
        self._model, self._index = model, index
        self._rule = model.applied(rule)
        self._known = {name: model.applied(one) for name, one in known.items()}
        self._align: Align = "auto" if aligns() else False
        # Names, not paths: users of the page need not know where the run is.
        self._facts = {
            "run": Path(model.facts["run"]).resolve().name,
            "step": model.facts["step"],
            "backbone": model.facts["backbone"]["name"],
            "fingerprint": model.fingerprint,
        }

    def about(self) -> dict[str, Any]:
        """The model that answers, and its thresholds."""
        return {
            "model": self._facts,
            "aligns": self._align is not False,
            "crop_sizes": sorted({CROP_SIZE, self._model.stored_size}),
            "most_pixels": MAX_PIXELS,
            "people": None if self._index is None else len(self._index),
            "threshold": dataclasses.asdict(self._rule.threshold),
            "risk": risk(self._rule),
            "note": self._rule.note,
            "thresholds": [{**dataclasses.asdict(rule.threshold), "risk": risk(rule)} for rule in self._known.values()],
        }

    def warm_up(self) -> None:
        """Compile everything that a request needs."""
        gray = np.full((CROP_SIZE, CROP_SIZE, 3), 128, np.uint8)
        self.verify(gray, gray)
        self.embed([gray])
        if self._index is not None:
            self.search(gray)

    def embed(self, images: Sequence[Any], *, crops: bool = False) -> dict[str, Any]:
        """Unit embeddings, float32 [E] each, and for DA-LoRA the gates. images: as in `FaceModel.embed`."""
        with named(*(f"image {number}" for number in range(1, len(images) + 1))):
            photographs = [self._model.photograph(image, place, self._align) for place, image in enumerate(images)]
            faces = self._model.embed([photograph.image for photograph in photographs], pad=True)
        rows = [
            {**self._seen(photograph, crops), "embedding": embedding}
            for photograph, embedding in zip(photographs, faces.embeddings.tolist(), strict=True)
        ]
        self._add_gates(rows, faces.gates)
        return {"model": self._facts, "images": rows}

    def verify(
        self, first: Any, second: Any, *, far: float | None = None, threshold: float | None = None, crops: bool = False
    ) -> dict[str, Any]:
        """Whether two photographs pass as the same person."""
        rule = self._chosen(far, threshold)
        with named("first", "second"):
            pair = (self._model.photograph(first, 0, self._align), self._model.photograph(second, 1, self._align))
            decision = self._model.compare(pair, rule)
        rows = [self._seen(photograph, crops) for photograph in pair]
        self._add_gates(rows, decision.gates)
        return {
            "model": self._facts,
            "images": rows,
            "similarity": decision.similarity,
            "squared_distance": decision.squared_distance,
            "threshold": dataclasses.asdict(decision.threshold),
            "same": decision.same,
            "says": verdict(decision.same, rule),
            "sure": decision.same and is_telling(rule.risk),
            "risk": risk(rule),
            "likelihood": decision.likelihood
            and {
                **dataclasses.asdict(decision.likelihood),
                "says": f"likelihood ratio {decision.likelihood}",
            },
            "note": decision.note,
        }

    def search(
        self,
        image: Any,
        *,
        top: float | None = None,
        far: float | None = None,
        threshold: float | None = None,
        crops: bool = False,
    ) -> dict[str, Any]:
        """The people in the index most similar to a photograph."""
        if self._index is None:
            raise Refused(404, "no index is open; start with --index=people.idx to search")
        count = TOP if top is None else top
        if count not in range(1, MOST + 1):
            raise Refused(422, f"top: {count:g} is out of range; expected a whole number in 1..{MOST}")
        rule = self._chosen(far, threshold)
        with named("image"):
            photograph = self._model.photograph(image, 0, self._align)
            # Always for MOST of them: another number would be compiled.
            found = self._index.search(photograph.image, MOST, threshold=rule.threshold.value)
        hits, chance = found.hits[0][: int(count)], rule.false_hit_chance(found.people)
        return {
            "model": self._facts,
            "image": self._seen(photograph, crops),
            "people": found.people,
            "hits": [dataclasses.asdict(hit) for hit in hits],
            "threshold": dataclasses.asdict(rule.threshold),
            "says": who(hits, chance),
            "sure": bool(hits[0].same) and chance is not None and chance <= TELLING,
            "risk": risk(rule),
            "false_hit_chance": chance,
            "note": rule.note,
        }

    def _chosen(self, far: float | None, threshold: float | None) -> Rule:
        if far is not None and threshold is not None:
            raise Refused(422, "far, threshold: each sets how to decide; send only one of them")
        if threshold is not None:
            if not 0 <= threshold <= 4:
                raise Refused(422, f"threshold: {threshold:g} is out of range; expected a squared distance in 0..4")
            own = self._rule
            return Rule(Threshold(threshold), benchmarks=own.benchmarks, calibration=own.calibration)
        if far is not None:
            with named_in_python():
                values = {name: rule.threshold.value for name, rule in self._known.items()}
                place = self._rule.threshold.benchmark or "this site"
                return self._known[known_at(values, far, place, "too few pairs, or it was not measured")]
        return self._rule

    def _seen(self, photograph: Photograph, crops: bool) -> dict[str, Any]:
        """How a face was cropped, and on request the pixels that the model sees, as PNG."""
        result: dict[str, Any] = {"aligned": photograph.faces is not None, "faces": photograph.faces}
        if crops:
            image = to_size(photograph.image, self._model.stored_size)
            file = io.BytesIO()
            Image.fromarray(image).save(file, "PNG")
            result["crop"] = base64.b64encode(file.getvalue()).decode()
        return result

    def _add_gates(self, rows: Sequence[dict[str, Any]], gates: np.ndarray | None) -> None:
        if gates is not None:
            names = self._rule.gate_names(gates.shape[1])
            for row, values in zip(rows, gates.tolist(), strict=True):
                row["gates"] = dict(zip(names, values, strict=True))


def aligns() -> bool:
    """Whether the extra `align` is installed."""
    try:
        Detector()
    except InputError:
        return False
    return True


def risk(rule: Rule) -> str:
    """What the rule's threshold means, in plain words."""
    if rule.risk is None:
        return "how many strangers pass at this threshold is unknown"
    return str(rule.risk)


def verdict(same: bool, rule: Rule) -> str:
    """The decision on two photographs, no stronger than its threshold."""
    if not same:
        return "They do not pass as the same person"
    if rule.risk is None:
        return "They pass the threshold" + (" that was set manually" if rule.threshold.far is None else "")
    if not is_telling(rule.risk):
        return f"They pass, but so does 1 stranger in {per_one(rule.risk.far)}"
    return "They pass as the same person"


def who(hits: Sequence[Hit], chance: float | None) -> str:
    """The outcome of a search; chance: that a stranger matches somebody."""
    passing = sum(bool(hit.same) for hit in hits)
    if not passing:
        return "Nobody in the index passes"
    if chance is not None and chance <= TELLING:
        return f"{hits[0].name} passes"
    doubt = "how often a stranger does is unknown" if chance is None else f"so do {100 * chance:.2g}% of strangers"
    return f"{hits[0].name} is the most similar, and passes; {doubt}"


@contextlib.contextmanager
def named(*names: str) -> Iterator[None]:
    """An InputError about "image 1" gets the second name instead."""
    try:
        yield
    except InputError as error:
        raise type(error)(re.sub(r"^image (\d+)", lambda found: names[int(found[1])], str(error))) from None
