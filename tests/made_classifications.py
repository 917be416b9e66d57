"""Classification runs without training: the answers of a synthetic classifier, as results, as a log and as a folder."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from adaptface_jax.config.classification import ClassificationConfig, ModelConfig
from adaptface_jax.core.json_io import to_json
from adaptface_jax.evaluation.classification.results import (
    BaselineScore,
    ClassificationResults,
    LabelScore,
    SplitResult,
)
from adaptface_jax.models.recognizer import ParameterCount
from adaptface_jax.training.classification.facts import ClassifierFacts
from adaptface_jax.training.monitor import METRICS_FILE
from adaptface_jax.training.run import RESULTS, write_record

ATTRIBUTES = ("Smiling", "Male", "Eyeglasses", "Young", "Wearing_Hat")
FREQUENCY = (0.5, 0.42, 0.07, 0.78, 0.05)


def label_score(true: np.ndarray, said: np.ndarray) -> LabelScore:
    """Of one label; true, said: bool [N]."""
    hits = int(np.count_nonzero(true & said))
    precision, recall = hits / max(said.sum(), 1), hits / max(true.sum(), 1)
    f1 = 2 * precision * recall / max(precision + recall, 1e-12)
    return LabelScore(int(true.sum()), float((true == said).mean()), float(precision), float(recall), float(f1))


def of_attributes(skill: float, images: int = 400, seed: int = 0, checkpoint: int | None = 40) -> SplitResult:
    """ATTRIBUTES, each right with a probability of `skill`."""
    rng = np.random.default_rng(seed)
    true = rng.random((images, len(ATTRIBUTES))) < FREQUENCY
    said = true ^ (rng.random(true.shape) > skill)
    labels = {name: label_score(true[:, i], said[:, i]) for i, name in enumerate(ATTRIBUTES)}
    macro = float(np.mean([score.f1 for score in labels.values()]))
    exact = float((true == said).all(axis=1).mean())
    return SplitResult(
        images, 0.7 - 0.5 * skill, float((true == said).mean()), macro, labels, exact_match=exact, checkpoint=checkpoint
    )


def of_classes(
    skill: float, classes: int, each: int = 50, seed: int = 0, checkpoint: int | None = 40, long: bool = True
) -> SplitResult:
    """`each` images per class; errors go to the next class or anywhere."""
    rng = np.random.default_rng(seed)
    true = np.repeat(np.arange(classes), each)
    difficulty = np.linspace(0.4, -0.4, classes)[true]
    wrong = np.where(rng.random(len(true)) < 0.5, (true + 1) % classes, rng.integers(0, classes, len(true)))
    said = np.where(rng.random(len(true)) < np.clip(skill + difficulty, 0, 1), true, wrong)
    confusion = np.zeros((classes, classes), int)
    np.add.at(confusion, (true, said), 1)
    names = [f"class {c}, also called a {'very ' * (c % 3)}long name" if long else f"class {c}" for c in range(classes)]
    labels = {name: label_score(true == c, said == c) for c, name in enumerate(names)}
    macro = float(np.mean([score.f1 for score in labels.values()]))
    return SplitResult(
        len(true), 2 * (1 - skill), float((true == said).mean()), macro, labels,
        confusion=tuple(map(tuple, confusion.tolist())), checkpoint=checkpoint,
    )  # fmt: skip


def results_of(
    validation: SplitResult, test: SplitResult | None = None, ended_early: str = ""
) -> ClassificationResults:
    """With baselines, distributions and facts; steps: 50, the best one 40."""
    measured = {"validation": validation} | ({"test": test} if test else {})
    baselines = {
        "majority": BaselineScore(0.75 if validation.exact_match else 1 / len(validation.labels), 0.2),
        "random": BaselineScore(0.5 if validation.exact_match else 1 / len(validation.labels), 0.3),
    }
    shares = {
        split: {name: score.images / found.images for name, score in found.labels.items()}
        for split, found in measured.items()
    }
    return ClassificationResults(
        validation,
        test,
        baselines=dict.fromkeys(measured, baselines),
        distribution={"train": shares["validation"]} | shares,
        run=ClassifierFacts(
            "cnn at 64 px", dict.fromkeys(("train", *measured), "made images"), 50, 0, 40, ended_early=ended_early
        ),
        parameters=(ParameterCount("convolutions", 900, 900), ParameterCount("output", 100, 100)),
        environment={"jax": "0.10.2", "processor": "made"},
        reported="2026-01-02 03:04 UTC",
    )


def rows_of(results: ClassificationResults, steps: int = 50, every: int = 10) -> list[dict]:
    """The log of a run with these validation results: one row per step, regular evaluations."""
    rng, final = np.random.default_rng(0), results.validation
    rows: list[dict] = []
    for step in range(1, steps + 1):
        done = step / steps
        rows.append(
            {
                "step": step, "train/loss": 2 - 1.5 * done + 0.1 * rng.random(), "train/accuracy": 0.2 + 0.7 * done,
                "train/learning_rate": 1e-3 * (1 - done), "train/grad_norm": 1.0, "train/grad_norm/output": 1.0,
                "train/images_per_second": 500.0, "train/data_wait": 0.01, "train/skipped": 0.0,
            }
        )  # fmt: skip
        if step % every == 0:
            reached = 0.4 + 0.6 * done
            row = {"accuracy": final.accuracy * reached, "macro_f1": final.macro_f1 * reached}
            row["loss"] = final.loss + 1 - done
            if final.exact_match is not None:
                row["exact_match"] = final.exact_match * reached
            row |= {f"f1/{name}": score.f1 * reached for name, score in final.labels.items()}
            rows.append({"step": step, **{f"eval/validation/{name}": value for name, value in row.items()}})
    return rows


def write_classification_run(
    workdir: Path,
    results: ClassificationResults | None,
    rows: list[dict],
    model: ModelConfig | None = None,
    **train: float,
) -> Path:
    """A folder with record, log and, if the run is finished, results; 640 images, 64 per step, 5 epochs. No
    checkpoint."""
    config = ClassificationConfig(model=model or ModelConfig())
    settings = {"batch_size": 64, "epochs": 5, "learning_rate": 1e-3, **train}
    config = dataclasses.replace(config, train=dataclasses.replace(config.train, **settings))
    data = {"source": "made images", "images": 640, "classes": 5}
    write_record(workdir, {"config": dataclasses.asdict(config), "data": data})
    (workdir / METRICS_FILE).write_text("".join(to_json(row) + "\n" for row in rows))
    if results is not None:
        (workdir / RESULTS).write_text(results.to_json())
    return workdir
