"""Next steps for a run: commands to type, chosen by its records."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape

from adaptface_jax.checks.run.records import AnyRun, FaceRun
from adaptface_jax.evaluation.headline import of_all
from adaptface_jax.evaluation.statistics.verdict import Outcome

Step = tuple[str, str]  # reason, command


def next_steps(run: AnyRun) -> str:
    """The section's HTML. RUN is a placeholder for the run's folder, which may move."""
    return section(steps_of(run), lead_of(run))


def steps_of(run: AnyRun) -> Iterator[Step]:
    """What can be done with a run."""
    return _of_faces(run) if isinstance(run, FaceRun) else _of_classes(run)


def lead_of(run: AnyRun) -> str:
    """What RUN stands for."""
    return f"RUN is the folder {run.workdir.resolve().name}."


def section(steps: Iterable[Step], lead: str) -> str:
    """HTML of any page's next steps."""
    items = "".join(f"<li>{escape(why)}<code>{escape(typed)}</code></li>" for why, typed in steps)
    return f'<h2>Next steps</h2><p class="lead">{escape(lead)}</p><ul class="steps">{items}</ul>'


def of_several(several: bool) -> str:
    """The next steps of a page that compares runs. HTML."""
    steps = [("Compare with another run", "adaptface report RUN ANOTHER --out=REPORT")] if not several else []
    seeds = "adaptface train --config=FILE --config.seed=2 --workdir=ANOTHER"
    steps.append(("Repeat the same settings with another seed: only several seeds can distinguish recipes", seeds))
    steps.append(("View the curves of all of them", "tensorboard --logdir FOLDER_OF_RUNS"))
    return section(steps, "RUN is the folder of a run.")


def _of_faces(run: FaceRun) -> Iterator[Step]:
    if not run.finished:
        yield "Resume it: run the same command again", "adaptface train --config=FILE --workdir=RUN"
        yield "Check it while it runs", "adaptface doctor --run=RUN"
        return
    outcome = of_all(run.verdicts)
    benchmarks = run.results.benchmarks if run.results else {}
    if benchmarks and set(benchmarks) <= set(run.generated):
        why = "Evaluate it on photographs of people: these faces are synthetic"
    elif outcome in (Outcome.NOT_SHOWN, Outcome.FEW):
        why = "Evaluate it on more people, to detect smaller differences"
    else:
        why = "Evaluate it on other people"
    yield why, "adaptface evaluate --run=RUN --benchmark NAME=PAIRS"
    if outcome in (Outcome.LOWERED, Outcome.NOT_SHOWN):
        yield "Search for a better learning rate", "adaptface lr_finder --config=FILE --out=RATES"
    if outcome in (Outcome.LOWERED, Outcome.MIXED):
        yield "Diagnose problems", "adaptface doctor --run=RUN"
    yield "Compare it with another run", "adaptface report RUN ANOTHER --out=REPORT"
    yield "Compare two photographs", "adaptface verify --run=RUN ONE.jpg OTHER.jpg"
    yield "Export it to other tools", "adaptface export --run=RUN --format=merged --out=FOLDER"
    yield "View its curves", "tensorboard --logdir RUN"


def _of_classes(run: AnyRun) -> Iterator[Step]:
    if not run.finished:
        yield "Resume it: run the same command again", "adaptface classify --config=FILE --workdir=RUN"
        return
    yield "Evaluate it on the test images", "adaptface classify --evaluate=RUN --split=test"
    yield "Compare it with another run", "adaptface report RUN ANOTHER --out=REPORT"
    yield "View its curves", "tensorboard --logdir RUN"
