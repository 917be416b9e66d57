# SPDX-License-Identifier: Apache-2.0
"""Checks of the metrics of a classification run: against the baselines, label by label, and over time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np

from adaptface_jax.checks.finding import Finding, Section, fault, note, ok, warning
from adaptface_jax.checks.run.history import Rows, column, ends
from adaptface_jax.core.text import plural
from adaptface_jax.evaluation.classification.rankings import kind_of_label, splits
from adaptface_jax.evaluation.classification.results import BaselineScore, ClassificationResults, SplitResult

# A validation loss this much above its minimum has turned upward.
TURNED = 1.1


def sections(rows: Rows, results: ClassificationResults | None) -> Iterator[Section]:
    """A section for each evaluated split; before the end only the validation history is known."""
    moved = course(rows)
    if results is None:
        if moved:
            yield Section("validation", "", (moved,))
        return
    for name, found in splits(results).items():
        findings = [against_baselines(found, results.baselines.get(name, {})), labels(found)]
        if name == "validation" and moved:
            findings.append(moved)
        if name == "test":
            findings.append(held(results.validation, found))
        yield Section(name, plural(found.images, "image"), tuple(findings))


def against_baselines(found: SplitResult, baselines: Mapping[str, BaselineScore]) -> Finding:
    """Macro F1 and accuracy against the baselines; a difference within the noise is no gain."""
    what = f"macro F1 {100 * found.macro_f1:.2f}%, accuracy {100 * found.accuracy:.2f}%"
    numbers = {"macro_f1": found.macro_f1, "accuracy": found.accuracy, "images": found.images}
    if not baselines:
        return ok("scores", what, **numbers)
    f1, name = max((score.macro_f1, name) for name, score in baselines.items())
    accuracy = max(score.accuracy for score in baselines.values())
    said = f"{what}; the best baselines have {100 * f1:.2f}% ({name}) and {100 * accuracy:.2f}%"
    cause = "labels that do not match the images, a wrong learning rate, or too few steps"
    higher = found.accuracy > accuracy + noise(accuracy, found.images)
    if found.macro_f1 <= f1 and not higher:
        return fault("scores", f"{said}: nothing was learned", cause, **numbers)
    if found.macro_f1 <= f1:
        return warning("scores", f"{said}: rare labels are not found", "train longer, or on more of them", **numbers)
    if found.accuracy < accuracy - noise(accuracy, found.images):
        return note(
            "scores", f"{said}: accuracy is below that of the majority label", "rare labels are predicted too often"
        )
    return ok("scores", said, **numbers)


def labels(found: SplitResult) -> Finding:
    """Labels that are never predicted correctly, and those that no image has."""
    one, several = kind_of_label(found)
    lost = [name for name, score in found.labels.items() if score.images and not score.f1]
    absent = [name for name, score in found.labels.items() if not score.images]
    if lost:
        return warning(
            "labels",
            f"{len(lost)} of {len(found.labels)} {several} are never found: {_named(lost)}",
            "too few training images of them, or names in a different order from the labels",
        )
    if absent:
        return note("labels", f"no image has {_named(absent)}", f"macro F1 counts such a {one} as 0")
    worst = min(found.labels, key=lambda name: found.labels[name].f1)
    return ok("labels", f"every {one} is found; the worst is {worst}, F1 {100 * found.labels[worst].f1:.2f}%")


def course(rows: Rows) -> Finding | None:
    """A validation loss that rises, or a macro F1 that falls, while the training loss keeps falling."""
    steps, loss = column(rows, "eval/validation/loss")
    score_steps, score = column(rows, "eval/validation/macro_f1")
    if len(loss) < 3 or len(score) < 3 or not np.isfinite(loss).all() or not np.isfinite(score).all():
        return None
    lowest, best = int(np.argmin(loss)), int(np.argmax(score))
    what = (
        f"best macro F1 {100 * score[best]:.2f}% at step {score_steps[best]:,}, now {100 * score[-1]:.2f}%; "
        f"lowest loss {loss[lowest]:.3f} at step {steps[lowest]:,}, now {loss[-1]:.3f}"
    )
    train_steps, train = column(rows, "train/loss")
    since = train[(train_steps >= steps[lowest]) & np.isfinite(train)]
    falling = len(since) > 1 and ends(since)[1] < ends(since)[0]
    if not falling or loss[-1] < TURNED * loss[lowest]:
        return ok("course", what)
    if score[best] - score[-1] > 0.01:
        return warning(
            "course",
            f"{what}, while the training loss falls: overfitting",
            "set train.patience, more augmentation, model.dropout or train.weight_decay; the best step is kept",
        )
    return note(
        "course", f"{what}: more confident in its errors, but no less accurate", "augmentation or dropout may help"
    )


def held(validation: SplitResult, test: SplitResult) -> Finding:
    """Whether the test images confirm the score that the checkpoint was chosen by."""
    change = test.macro_f1 - validation.macro_f1
    what = f"macro F1 {100 * change:+z.2f} points compared with validation"
    room = noise(validation.accuracy, test.images) + noise(validation.accuracy, validation.images)
    if validation.accuracy - test.accuracy > room:
        cause = "too few validation images to choose on, or test images of a different kind"
        return warning("held", f"{what}, accuracy {100 * (test.accuracy - validation.accuracy):+z.2f}", cause)
    return ok("held", what)


def noise(accuracy: float, images: int) -> float:
    """Two standard errors of an accuracy."""
    return 2 * math.sqrt(max(accuracy * (1 - accuracy), 1e-4) / max(images, 1))


def _named(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
