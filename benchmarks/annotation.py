"""Labels by `annotate` compared with labels by people.

    python benchmarks/annotation.py --train=FOLDER --test=FOLDER --work=SCRATCH --out=benchmarks/results/NAME.json

Both folders hold identity folders and a labels.csv with the columns film, pose (frontal, left, right, up, down) and
light (bad, medium, high). Thresholds are chosen on the first, results are for the second. SCRATCH keeps the
measurements, so that the same call resumes after a stop.

For each condition: AUC of its score (poses: over images with a face); the threshold of the best accuracy on the first
set; and at the shipped one accuracy, balanced accuracy and the confusion matrix. `film_share` is the AUC of an oracle
that knows only which part of a film's images people called dark, `within_film` the AUC of brightness over pairs of
images of one film: what the labels themselves allow.
"""

from __future__ import annotations

import argparse
import csv
import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from showing import show
from sklearn.metrics import balanced_accuracy_score, roc_auc_score, roc_curve

from adaptface_jax.annotate.conditions import Thresholds, conditions
from adaptface_jax.annotate.measure import Measurer, Measures
from adaptface_jax.annotate.table import Annotated, annotate, open_journal
from adaptface_jax.core.processors import cores
from adaptface_jax.core.progress import Progress
from adaptface_jax.data.sources.loose_images import open_images
from adaptface_jax.data.synthetic_faces.generate import Population

Row = tuple[dict[str, str], Measures]  # the label by people, and what was measured


class Condition:
    """Images that people put in one class against those of another. score: larger means more of the condition."""

    def __init__(
        self, column: str, yes: Sequence[str], no: Sequence[str], score: Callable[[Measures], float], shipped: float
    ) -> None:
        self._column, self._yes, self._no, self._score = column, yes, no, score
        self._shipped = shipped

    def of(self, rows: Sequence[Row]) -> tuple[np.ndarray, np.ndarray]:
        """Truth, bool [N], and score, float [N], of the images of both classes with a face."""
        chosen = [(row, measures) for row, measures in rows if row[self._column] in (*self._yes, *self._no)]
        truth = np.array([row[self._column] in self._yes for row, _ in chosen])
        return truth, np.array([self._score(measures) for _, measures in chosen])

    def figures(self, train: Sequence[Row], test: Sequence[Row]) -> dict[str, Any]:
        truth, score = self.of(train)
        false, true, at = roc_curve(truth, score, drop_intermediate=False)
        right = true * truth.sum() - false * (~truth).sum()
        best = float(at[1:][np.argmax(right[1:])])  # the first is infinite
        result = {"auc_train": float(roc_auc_score(truth, score)), "best_threshold_train": abs(best)}
        truth, score = self.of(test)
        guess = score >= self._shipped
        return result | {
            "images_test": len(truth),
            "share_test": float(truth.mean()),
            "auc_test": float(roc_auc_score(truth, score)),
            "shipped_threshold": abs(self._shipped),
            "accuracy_test": float((guess == truth).mean()),
            "balanced_accuracy_test": float(balanced_accuracy_score(truth, guess)),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("train", "test", "work"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    limits = Thresholds()
    train, test = (rows_of(folder, args.work / f"{folder.name}.csv") for folder in (args.train, args.test))
    turned, faces, every = ("left", "right"), [], []
    for rows in (train, test):
        faces.append([(row, measures) for row, measures in rows if measures.faces])
        every.append(rows)
    by_yaw = lambda measures: abs(measures.yaw)  # noqa: E731
    dark = lambda measures: -measures.brightness  # noqa: E731
    table = {
        "turned against frontal": Condition("pose", turned, ("frontal",), by_yaw, limits.turned).figures(*faces),
        "left against right": Condition("pose", turned[:1], turned[1:], lambda m: m.yaw, 0.0).figures(*faces),
        "up or down against frontal": Condition(
            "pose", ("up", "down"), ("frontal",), lambda m: abs(m.pitch), limits.tilted
        ).figures(*faces),
        "up against down": Condition("pose", ("up",), ("down",), lambda m: m.pitch, 0.0).figures(*faces),
        "dark against not": Condition("light", ("bad",), ("medium", "high"), dark, -limits.dark).figures(*every),
        "dark against bright": Condition("light", ("bad",), ("high",), dark, -limits.dark).figures(*every),
    }
    result = {
        "images": {"train": len(train), "test": len(test)},
        "with_a_face": {"train": len(faces[0]) / len(train), "test": len(faces[1]) / len(test)},
        "conditions": table,
        "pose_confusion_test": confusion(test, "pose", limits),
        "light_confusion_test": confusion(test, "light", limits),
        "limits_of_the_light_labels_test": light_limits(test),
        "generated_faces": of_generated(),
    }
    show(result, args.out)


def of_generated(identities: int = 20, pictures: int = 12) -> dict[str, float]:
    """The same for generated faces, whose yaw and exposure are known: turned is 20 degrees or more, dark 0.2 or
    less."""
    people, measurer = Population(seed=1), Measurer()
    made = [
        (people.conditions(identity, picture), measurer(people.picture(identity, picture)[0]))
        for identity, picture in itertools.product(range(identities), range(pictures))
    ]
    yaws = np.array([(truth.yaw, measures.yaw) for truth, measures in made if measures.faces])
    light = np.array([(truth.exposure, measures.brightness) for truth, measures in made])
    return {
        "images": len(made),
        "with_a_face": len(yaws) / len(made),
        "yaw_correlation": float(np.corrcoef(yaws.T)[0, 1]),
        "turned_auc": float(roc_auc_score(np.abs(yaws[:, 0]) >= 20, np.abs(yaws[:, 1]))),
        "dark_auc": float(roc_auc_score(light[:, 0] <= 0.2, -light[:, 1])),
    }


def rows_of(folder: Path, out: Path) -> list[Row]:
    """Measures what is missing; leaves out unreadable images and those not in the folder's labels.csv."""
    source = open_images(str(folder))
    with Progress(len(source), label=folder.name, unit="image") as progress:

        def tell(done: int, found: Annotated) -> None:
            progress.show(done, {})

        found = annotate(str(folder), source, open_journal(out, str(folder)), cores(), tell)
    with open(folder / "labels.csv", newline="", encoding="utf-8") as file:
        return [(row, found.measures[row["path"]]) for row in csv.DictReader(file) if row["path"] in found.measures]


def confusion(rows: Sequence[Row], column: str, limits: Thresholds) -> Mapping[str, Mapping[str, int]]:
    """Label by people -> label here -> count."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for row, measures in rows:
        counts[row[column]][conditions(measures, limits)[column] or "no face"] += 1
    return counts


def light_limits(rows: Sequence[Row]) -> dict[str, float]:
    """How well people's label of dark light can be predicted from the film alone, and within one film from
    brightness."""
    films: dict[str, list[tuple[bool, float]]] = defaultdict(list)
    for row, measures in rows:
        films[row["film"]].append((row["light"] == "bad", -measures.brightness))
    share = [(is_bad, np.mean([each for each, _ in its])) for its in films.values() for is_bad, _ in its]
    wins = [
        (first > second) + (first == second) / 2
        for its in films.values()
        for (is_bad, first), (other, second) in itertools.product(its, its)
        if is_bad and not other
    ]
    truth, score = zip(*share, strict=True)
    return {"film_share": float(roc_auc_score(truth, score)), "within_film": float(np.mean(wins))}


if __name__ == "__main__":
    main()
