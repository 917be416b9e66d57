# SPDX-License-Identifier: Apache-2.0
"""What a classification run prints before it starts: model, data, distribution of its labels, first loss."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from adaptface_jax.config.classification import ModelConfig
from adaptface_jax.core import trees
from adaptface_jax.core.text import plural
from adaptface_jax.data.record import Source
from adaptface_jax.data.skipped_files import SkippedFiles
from adaptface_jax.training.classification.facts import ClassifierFacts
from adaptface_jax.training.classification.plan import ClassificationPlan
from adaptface_jax.training.loop import Ending
from adaptface_jax.training.summary import expected_line, machine_line, steps_line

MOST = 12  # labels that are listed one by one


def summary(plan: ClassificationPlan) -> str:
    """The text."""
    mean, std = (", ".join(f"{value:.4f}" for value in values) for values in (plan.stats.mean, plan.stats.std))
    loss = "binary cross-entropy" if plan.source.multi_label else "cross-entropy"
    lines = [
        machine_line(),
        f"model     {model_words(plan.config.model)}, {np.dtype(plan.classifier.dtype).name}",
        f"          {trees.count(plan.trainable):,} parameters, all trained",
        *data_lines(parts(plan)),
        *distribution_lines(plan.source),
        f"pixels    mean {mean}, deviation {std}",
        f"{steps_line(plan)}; {plan.config.train.optimizer}, {loss}",
        expected_line(plan.expected_loss),
    ]
    return "\n".join(lines)


def parts(plan: ClassificationPlan) -> dict[str, Source]:
    """Name of a split -> its source."""
    splits = plan.splits
    return {"train": splits.train, "validation": splits.validation, "test": splits.test}


def model_words(model: ModelConfig) -> str:
    """The network in a few words."""
    if model.name == "cnn":
        shape = f"{model.width}-{2 * model.width}-{model.channels_block3} channels"
    else:
        shape = f"blocks {', '.join(map(str, model.blocks))} from {model.width} channels"
        shape += "" if model.batch_norm else ", without batch normalization"
        shape += "" if model.residual else ", without residual connections"
    return f"{model.name}, {shape}, {model.activation}, dropout {model.dropout:g}, at {model.image_size} px"


def data_lines(sources: Mapping[str, Source]) -> list[str]:
    """What each split is, and what was skipped in its folder; once, if several are parts of one set."""
    lines, said = list[str](), list[SkippedFiles]()
    for name, source in sources.items():
        lines.append(f"{name:11}{data_words(source)}")
        if not any(source.skipped_files is skipped for skipped in said):
            lines += [f"{'':11}{line}" for line in source.skipped_files.lines()]
            said.append(source.skipped_files)
    return lines


def data_words(source: Source) -> str:
    """One line per split."""
    kind = "attributes" if source.multi_label else "classes"
    return f"{plural(len(source), 'image')}, {source.num_classes:,} {kind}: {source.description}"


def shares(source: Source) -> dict[str, float]:
    """Label -> the share of the images that have it."""
    if source.multi_label:
        found = source.labels.mean(axis=0)
    else:
        found = np.bincount(source.labels, minlength=source.num_classes) / len(source)
    return dict(zip(source.class_names, found.tolist(), strict=True))


def distribution_lines(source: Source) -> list[str]:
    """The distribution of the labels of the training images."""
    found = shares(source)
    if len(found) <= MOST:
        return ["labels    " + ", ".join(f"{name} {100 * share:.2f}%" for name, share in found.items())]
    if len(set(found.values())) == 1:
        return [f"labels    {100 / len(found):.2f}% of the images each"]
    low, high = min(found, key=lambda name: found[name]), max(found, key=lambda name: found[name])
    return [f"labels    {100 * found[low]:.2f}% ({low}) to {100 * found[high]:.2f}% ({high}) of the images each"]


def classifier_facts(plan: ClassificationPlan, ending: Ending) -> ClassifierFacts:
    """What the report of a run states first."""
    return ClassifierFacts(
        model=model_words(plan.config.model),
        data={name: data_words(source) for name, source in parts(plan).items()},
        steps=ending.steps,
        seed=plan.config.seed,
        best_checkpoint=ending.best,
        ended_early=ending.early,
    )
