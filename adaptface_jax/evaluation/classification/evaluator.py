"""A classifier on a whole split, the host decoding ahead of the device."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from adaptface_jax.data.augmentation.augment import preprocess
from adaptface_jax.data.pipeline import evaluation_batches
from adaptface_jax.data.record import Images, Source
from adaptface_jax.distributed.mesh import sharding
from adaptface_jax.distributed.processes import process_rows, several
from adaptface_jax.evaluation.classification.metrics import split_result
from adaptface_jax.evaluation.classification.results import SplitResult
from adaptface_jax.evaluation.passes import passes
from adaptface_jax.training.classification.plan import ClassificationPlan


class Evaluator:
    """Measures a plan's model with any trees of its shape; compiled once, for one number of rows."""

    def __init__(self, plan: ClassificationPlan) -> None:
        self._plan = plan
        self._rows = -(-plan.config.eval.batch_size // plan.mesh.size) * plan.mesh.size
        classifier, stats = plan.classifier, plan.stats

        def logits(trainable: Any, statistics: Any, images: jax.Array) -> jax.Array:
            pixels = preprocess(images, classifier.config.image_size, stats, classifier.dtype)
            return classifier.logits(trainable, statistics, pixels)[0]

        replicated, rows = sharding(plan.mesh), sharding(plan.mesh, "batch")
        self._function = jax.jit(
            logits,
            in_shardings=(None, None, rows),
            # Of several processes each must be able to read every row.
            out_shardings=replicated if several() else rows,
            compiler_options=plan.compiler_options,
        )

    def __call__(self, trainable: Any, statistics: Any, source: Source, checkpoint: int | None = None) -> SplitResult:
        """Raises InputError for an image that cannot be decoded, named by its key."""
        return split_result(self.logits(trainable, statistics, source), source.labels, source.class_names, checkpoint)

    def logits(self, trainable: Any, statistics: Any, source: Source) -> np.ndarray:
        """float32 [N, outputs], a row an image."""
        images = Images(source)
        mine = process_rows(self._rows, jax.process_index(), jax.process_count())
        size, threads = self._plan.stored_size, self._plan.config.data.threads
        batches = evaluation_batches(images, self._rows, size, keys=images.keys, rows=mine, threads=threads)
        found = passes(lambda batch: self._function(trainable, statistics, batch), batches, self._plan.mesh)
        return np.concatenate([np.asarray(jax.device_get(logits), np.float32)[:count] for logits, count in found])
