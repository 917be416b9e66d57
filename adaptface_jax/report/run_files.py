# SPDX-License-Identifier: Apache-2.0
"""The files of a run, and what each is."""

from __future__ import annotations

from collections.abc import Iterator

from adaptface_jax.checks.run.records import FaceRun
from adaptface_jax.data.bad_records import FILE as BAD_RECORDS
from adaptface_jax.data.witness import RECORDS
from adaptface_jax.evaluation.baselines import NAME as BASELINES
from adaptface_jax.evaluation.pair_scores import SCORES
from adaptface_jax.evaluation.recorded_searches import FILE as SEARCHES
from adaptface_jax.training.checkpoint import CHECKPOINTS
from adaptface_jax.training.evidence import EVIDENCE
from adaptface_jax.training.monitor import METRICS_FILE
from adaptface_jax.training.run import MARKDOWN, PAGE, RESULTS, RUN_FILE
from adaptface_jax.training.trackers import ID_FILE

# The files of a report are written with it.
REPORT = {
    PAGE: "the report as a self-contained page",
    MARKDOWN: "this document",
    RESULTS: "the results, for scripts",
}

# Pattern -> description; listed if it exists.
RECORDED = {
    RUN_FILE: "settings, data and backbone: what must be the same to resume",
    METRICS_FILE: "every logged scalar, one line per write",
    "events.out.tfevents.*": "the same for TensorBoard",
    BASELINES: "the results of the frozen backbone",
    f"{SCORES}/**/*.npz": "distance and decision of each pair",
    SEARCHES: "searches that `adaptface evaluate --record` stored",
    EVIDENCE: "what `adaptface replay` verifies the run with",
    RECORDS: "digests of every training record",
    BAD_RECORDS: "images that could not be read",
    ID_FILE: "the run's name at Weights & Biases",
}


def file_rows(run: FaceRun) -> Iterator[list[str]]:
    """(file, description) of those that exist."""
    for name, what in REPORT.items():
        yield [f"`{name}`", what]
    for pattern, what in RECORDED.items():
        count = len(list(run.workdir.glob(pattern)))
        if count:
            yield [f"`{pattern}`", what if count == 1 or "*" not in pattern else f"{what} ({count} files)"]
    facts = run.results.run if run.results else None
    steps = sorted(int(path.name) for path in (run.workdir / CHECKPOINTS).glob("[0-9]*") if path.name.isdecimal())
    for step in steps:
        marks = ["the last"] if step == steps[-1] else []
        marks += ["the best"] if facts and facts.best_checkpoint == step else []
        yield [f"`{CHECKPOINTS}/{step}/`", f"a checkpoint{': ' if marks else ''}{' and '.join(marks)}"]
