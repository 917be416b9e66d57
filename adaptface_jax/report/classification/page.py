"""The page of a classification run: its scores, its training, and which labels it recognizes."""

from __future__ import annotations

from collections.abc import Iterator

from adaptface_jax.checks.finding import Section
from adaptface_jax.checks.run.history import column
from adaptface_jax.checks.run.records import ClassificationRun
from adaptface_jax.evaluation.classification.rankings import judged, kind_of_label
from adaptface_jax.report.about import about_section, architecture
from adaptface_jax.report.classification.course import charts
from adaptface_jax.report.classification.labels import confusion_section, labels_section
from adaptface_jax.report.classification.scores import answer, scores_table
from adaptface_jax.report.findings import findings_section
from adaptface_jax.report.tables import percent
from adaptface_jax.report.training import training_section

LABELS = {"cnn": "The CNN", "resnet": "The ResNet"}


def over(run: ClassificationRun) -> str:
    """The line above the run's name."""
    return architecture(run.config)


def sections(run: ClassificationRun, found: list[Section]) -> Iterator[str]:
    """The page below the run's name and state; some parts are empty."""
    results = run.results
    yield answer(LABELS[run.config.model.name], results) if results else _so_far(run)
    if results:
        yield "<h2>Validation and test</h2>" + scores_table(results)
    yield "<h2>Training</h2>" + training_section(run.rows, charts(run))
    if results:
        split, measured = judged(results)
        several = kind_of_label(measured)[1]
        yield f"<h2>Which {several} it recognizes</h2>" + labels_section(results)
        if measured.confusion:
            yield "<h2>What it confuses</h2>" + confusion_section(split, measured)
    yield '<h2 id="findings">Diagnostics</h2>' + findings_section(found)
    yield "<h2>Configuration</h2>" + about_section(run)


def _so_far(run: ClassificationRun) -> str:
    """The last evaluation of an unfinished run."""
    _, macro_f1 = column(run.rows, "eval/validation/macro_f1")
    _, accuracy = column(run.rows, "eval/validation/accuracy")
    if not len(macro_f1) or not len(accuracy):
        return '<p class="answer">This run is not finished, and nothing has been evaluated yet.</p>'
    return (
        f'<p class="answer">This run is not finished. On validation so far: <b>{percent(float(macro_f1[-1]))}</b> '
        f"macro F1, {percent(float(accuracy[-1]))} accuracy.</p>"
    )
