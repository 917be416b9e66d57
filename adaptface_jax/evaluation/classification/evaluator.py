# SPDX-License-Identifier: Apache-2.0
"""Evaluates a classifier on a whole split, the host decoding ahead of the device."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import plural, shown
from adaptface_jax.data.augmentation.augment import preprocess
from adaptface_jax.data.pipeline import evaluation_batches
from adaptface_jax.data.readable import Readable
from adaptface_jax.data.record import Source
from adaptface_jax.distributed.mesh import sharding
from adaptface_jax.distributed.passes import passes
from adaptface_jax.distributed.processes import anywhere, process_rows, several
from adaptface_jax.evaluation.classification.metrics import split_result
from adaptface_jax.evaluation.classification.results import SplitResult
from adaptface_jax.training.classification.plan import ClassificationPlan


class Evaluator:
    """Evaluates a plan's model with any trees of its shape; compiled once, for one batch size."""

    def __init__(self, plan: ClassificationPlan) -> None:
        self._plan = plan
        self._said: set[str] = set()  # sources whose unreadable images were reported
        self._rows = -(-plan.config.eval.batch_size // plan.mesh.size) * plan.mesh.size
        classifier, stats = plan.classifier, plan.stats

        def logits(trainable: Any, statistics: Any, images: jax.Array) -> jax.Array:
            pixels = preprocess(images, classifier.config.image_size, stats, classifier.dtype)
            return classifier.logits(trainable, statistics, pixels)[0]

        replicated, rows = sharding(plan.mesh), sharding(plan.mesh, "batch")
        self._function = jax.jit(
            logits,
            in_shardings=(None, None, rows),
            # With several processes, each must be able to read every row.
            out_shardings=replicated if several() else rows,
            compiler_options=plan.compiler_options,
        )

    def __call__(self, trainable: Any, statistics: Any, source: Source, checkpoint: int | None = None) -> SplitResult:
        """Images that cannot be read are skipped, and reported, if `data.bad_records` is skip.

        Raises InputError for one, named by its key, if it is fail, and for more than `data.max_bad_records`.
        """
        logits, read = self._logits(trainable, statistics, source)
        self._say(source, np.flatnonzero(~read))
        return split_result(logits[read], source.labels[read], source.class_names, checkpoint)

    def _say(self, source: Source, bad: np.ndarray) -> None:
        if not len(bad):
            return
        said = f"{source.description}: {len(bad):,} of {plural(len(source), 'image')} cannot be read"
        most = self._plan.config.data.max_bad_records
        first = shown(source.key(int(bad[0])))
        if len(bad) > most or len(bad) == len(source):
            raise InputError(f"{said}, at most {most:,} are skipped (data.max_bad_records); the first: {first}")
        if source.description not in self._said:
            print(f"{said} and are skipped, the first: {first}", flush=True)
        self._said.add(source.description)

    def _logits(self, trainable: Any, statistics: Any, source: Source) -> tuple[np.ndarray, np.ndarray]:
        """float32 [N, outputs], one row per image, and which of them could be read, bool [N]."""
        images = Readable.of(source, strict=self._plan.config.data.bad_records == "fail")
        mine = process_rows(self._rows, jax.process_index(), jax.process_count())
        size, threads = self._plan.stored_size, self._plan.config.data.threads
        batches = evaluation_batches(images, self._rows, size, keys=images.keys, rows=mine, threads=threads)
        found = passes(lambda batch: self._function(trainable, statistics, batch), batches, self._plan.mesh)
        logits = [np.asarray(jax.device_get(rows), np.float32)[:count] for rows, count in found]
        return np.concatenate(logits), ~anywhere(~images.read())
