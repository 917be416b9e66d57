"""A few training images before and after augmentation, for runs that log images."""

from __future__ import annotations

import jax
import numpy as np

from adaptface_jax.data.pipeline import evaluation_batches
from adaptface_jax.data.readable import Readable
from adaptface_jax.data.small_sample import small_sample
from adaptface_jax.training.classification.loss import augmented
from adaptface_jax.training.classification.plan import ClassificationPlan

COUNT = 8


def augmented_samples(plan: ClassificationPlan) -> tuple[np.ndarray, np.ndarray]:
    """uint8 [N, S, S, 3]: samples spread over the training images, and one augmentation of each.

    An unreadable one is black if `data.bad_records` is skip, else it raises InputError.
    """
    sample = small_sample(plan.source, min(COUNT, len(plan.source)))
    images = Readable.of(sample, strict=plan.config.data.bad_records == "fail")
    ((before, count),) = evaluation_batches(images, len(images), plan.stored_size, keys=images.keys)
    after = augmented(jax.random.key(plan.config.seed), jax.numpy.asarray(before), plan.config.augment)
    return before[:count], np.asarray(after)[:count]
