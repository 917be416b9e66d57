"""All checks of a run, during the run or after it: its records, and its model on some images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from adaptface_jax.checks.finding import Finding, Section, note, ok
from adaptface_jax.checks.run import embeddings
from adaptface_jax.checks.run.record_checks import check_records
from adaptface_jax.checks.run.records import AnyRun, FaceRun
from adaptface_jax.checks.setup.setup_checks import EMBED_BATCH
from adaptface_jax.core.errors import InputError
from adaptface_jax.data.benchmarks.from_path import open_benchmark
from adaptface_jax.evaluation.embedding import Embedder
from adaptface_jax.training.recognition.run import open_run, run_mesh


def check_run(run: AnyRun, benchmarks: Mapping[str, str] | None = None) -> Iterator[Section]:
    """The sections of the report. benchmarks: name -> path, overriding a face run's own, for the embeddings.

    Raises InputError if a classification run is given benchmarks.
    """
    if benchmarks is not None and not isinstance(run, FaceRun):
        raise InputError(f"--benchmark: {run.workdir} is a classification run, which has none; leave it out")
    yield from check_records(run)
    if isinstance(run, FaceRun):
        yield Section("model", "embeddings of benchmark images", tuple(_model(run, benchmarks)))


def _model(run: FaceRun, benchmarks: Mapping[str, str] | None) -> Iterator[Finding]:
    """The best checkpoint on a sample of the first benchmark that can be opened."""
    mesh, named = run_mesh(run.workdir), run.config.data.benchmarks if benchmarks is None else benchmarks
    if not named:
        yield note("embeddings", "not checked", "name a benchmark: --benchmark NAME=PATH")
    for name, path in named.items():
        try:
            images = open_benchmark(path).images
            model, step = open_run(run.workdir, "best", mesh)
            chosen = np.random.default_rng(0).permutation(len(images))[: embeddings.SAMPLE]
            found = Embedder(model.recognizer, mesh, EMBED_BATCH, model.stored_size)(
                model.frozen, model.trainable, [images[i] for i in chosen], flip=False
            )
        except InputError as error:
            yield note("embeddings", f"not checked on {name}: {error}")
            continue
        yield ok("checkpoint", f"step {step:,} on {len(chosen)} images of {name}")
        yield from embeddings.spread(found.embedding)
        if found.gate is not None:
            yield embeddings.gates_on_images(found.gate, run.config.adapter.null_expert)
        return
