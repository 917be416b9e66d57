"""A classification run before its first step: its three splits opened, measured and counted, its model built."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import jax

from adaptface_jax.config.classification import ClassificationConfig
from adaptface_jax.config.small_sample import ENOUGH
from adaptface_jax.core.errors import InputError
from adaptface_jax.core.json_io import to_json
from adaptface_jax.data.small_sample import small_sample
from adaptface_jax.data.splits import Splits, open_splits
from adaptface_jax.data.statistics import channel_statistics
from adaptface_jax.distributed.compiler import convolution_options
from adaptface_jax.distributed.mesh import check_batch, make_mesh, place
from adaptface_jax.losses.cross_entropy import expected_loss
from adaptface_jax.models.classifier import Classifier
from adaptface_jax.models.recognizer import compute_dtype
from adaptface_jax.models.specs import ImageStats
from adaptface_jax.training.classification.loss import make_loss
from adaptface_jax.training.plan import Plan, check_epoch
from adaptface_jax.training.run import describe_source
from adaptface_jax.training.trackers import require


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassificationPlan(Plan):
    """A Plan with the classifier, the mean and deviation that its input is normalized by, and the three splits."""

    config: ClassificationConfig
    classifier: Classifier
    stats: ImageStats
    splits: Splits


def prepare(config: ClassificationConfig, record: Mapping[str, Any] | None = None) -> ClassificationPlan:
    """Open and measure the data, build the model; raises InputError if something is missing or does not fit.

    record: of the run that may be resumed, whose training images then need not be measured again.
    """
    mesh = make_mesh()
    check_batch(config.train.batch_size, config.train.grad_accum, mesh)
    require(config.monitor.wandb)
    if not config.data.path:
        raise InputError("data.path: empty; set --config.data.path to a folder of images or to tfds:NAME")
    splits = open_splits(config.data.path, config.data.attributes, config.data.test_fraction, config.data.split_seed)
    if config.data.overfit_small is not None:
        splits = dataclasses.replace(splits, train=small_sample(splits.train, config.data.overfit_small))
    source = splits.train
    check_epoch(config, source)
    own = make_record(config, splits)
    stats = statistics(config, source, own, record)
    by_image = mesh.size == 1 and jax.default_backend() == "cpu"
    classifier = Classifier(config.model, source.num_classes, compute_dtype(config.model.dtype), by_image)
    params, moments = classifier.init(config.seed)
    return ClassificationPlan(
        config=config,
        mesh=mesh,
        source=source,
        frozen={},
        trainable=place(mesh, params),
        statistics=place(mesh, moments),
        loss=make_loss(classifier, config.augment, stats),
        expected_loss=expected_loss(source.num_classes, source.multi_label),
        record=own | {"statistics": json.loads(to_json(dataclasses.asdict(stats)))},
        evaluated=config.data.overfit_small is None,
        stored_size=config.model.image_size,
        enough=ENOUGH if config.data.overfit_small else None,
        compiler_options=convolution_options(),
        classifier=classifier,
        stats=stats,
        splits=splits,
    )


def make_record(config: ClassificationConfig, splits: Splits) -> dict[str, Any]:
    """What must be the same for a run to resume."""
    record = {
        "config": dataclasses.asdict(config),
        "data": describe_source(splits.train),
        "validation": describe_source(splits.validation),
        "test": describe_source(splits.test),
    }
    return dict(json.loads(to_json(record)))


def statistics(
    config: ClassificationConfig, source: Any, own: Mapping[str, Any], record: Mapping[str, Any] | None
) -> ImageStats:
    """From the settings, from the record if it is of the same training images, or measured now."""
    wanted, size = config.data, config.model.image_size
    if wanted.mean is not None and wanted.std is not None:
        return ImageStats(triple(wanted.mean), triple(wanted.std))
    if record is not None and "statistics" in record:
        same = record["data"] == own["data"] and record["config"].get("model", {}).get("image_size") == size
        if same and record["config"].get("data", {}).get("mean") is None:
            return ImageStats(triple(record["statistics"]["mean"]), triple(record["statistics"]["std"]))
    print(f"measuring the pixels of {len(source):,} training images (data.mean, data.std)", flush=True)
    return channel_statistics(source, size, wanted.threads, skip_bad=wanted.bad_records == "skip")


def triple(values: Any) -> tuple[float, float, float]:
    """One value each for red, green and blue."""
    red, green, blue = values
    return red, green, blue
