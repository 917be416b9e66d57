# SPDX-License-Identifier: Apache-2.0
"""The sentences on whether a model differs from another, for pages, Markdown and the terminal."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from adaptface_jax.core.text import listed, plural, signed, signed_area
from adaptface_jax.evaluation.statistics.verdict import Outcome, Verdict, together

FROZEN = "the frozen backbone"
LABELS = {"lora": "LoRA", "dalora": "DA-LoRA", "none": "the linear probe", "full": "full fine-tuning"}


def headline(label: str, judged: Mapping[str, Verdict], base: str = FROZEN) -> str:
    """One sentence over all benchmarks. label: the model, as it may begin a sentence."""
    if not judged:
        return f"Whether {label} differs from {base} was not tested: the scores of their pairs are not stored."
    if len(judged) == 1:
        return _of_one(label, next(iter(judged.values())), base)
    groups = {kind: [name for name, verdict in judged.items() if verdict.outcome == kind] for kind in Outcome}
    said = []
    if groups[Outcome.RAISED]:
        said.append(f"raised accuracy or AUC over {base} on {listed(groups[Outcome.RAISED])}")
    if groups[Outcome.LOWERED]:
        said.append(f"lowered accuracy or AUC on {listed(groups[Outcome.LOWERED])}")
    if groups[Outcome.MIXED]:
        said.append(f"raised one of the two and lowered the other on {listed(groups[Outcome.MIXED])}")
    if not said:
        return f"No difference between {label} and {base} is shown on any of {len(judged)} benchmarks."
    if groups[Outcome.NOT_SHOWN]:
        said.append(f"no difference is shown on {listed(groups[Outcome.NOT_SHOWN])}")
    if groups[Outcome.FEW]:
        said.append(f"too few people on {listed(groups[Outcome.FEW])}")
    return f"{label} {'; '.join(said)}."


def of_all(judged: Mapping[str, Verdict]) -> Outcome:
    """The outcome over all benchmarks, which determines the color of the headline."""
    return together(verdict.outcome for verdict in judged.values())


def _of_one(label: str, verdict: Verdict, base: str) -> str:
    found = verdict.found
    if found.few:
        people = plural(found.people, "person")
        return f"Too few people to say whether {label} differs from {base}: {people}."
    changes = {
        "accuracy": (verdict.accuracy, f"{signed(abs(found.accuracy_difference)).lstrip('+')} points"),
        "AUC": (verdict.auc, signed_area(abs(found.auc_difference)).lstrip("+")),
    }
    shown = [f"{kind} {figure} by {size}" for figure, (kind, size) in changes.items() if kind.shown]
    hidden = [figure for figure, (kind, _) in changes.items() if not kind.shown]
    if not shown:
        return f"No difference between {label} and {base} is shown."
    if verdict.accuracy == verdict.auc:
        shown[1] = shown[1].partition(" ")[2]
    tail = f"; in {hidden[0]} no difference is shown" if hidden else ""
    return f"{label} {' and '.join(shown)} over {base}{tail}."


def detail(verdict: Verdict) -> str:
    """Both differences with their 95% intervals, and how many pairs and people they are based on."""
    found = verdict.found
    accuracy, auc = (
        f"{written(difference)} ({' to '.join(written(end) for end in ends)})"
        for written, difference, ends in (
            (signed, found.accuracy_difference, found.accuracy_interval),
            (signed_area, found.auc_difference, found.auc_interval),
        )
    )
    return (
        f"Accuracy {accuracy} points, AUC {auc}, with 95% intervals, over {plural(found.pairs, 'pair')} of "
        f"{plural(found.people, 'person')}."
    )


def by_domain(verdict: Verdict) -> str:
    """Which domains improved and which got worse, the largest first; "" if there are none."""
    if not verdict.domains:
        return ""
    said = []
    for kind, sign in ((Outcome.RAISED, -1), (Outcome.LOWERED, 1), (Outcome.MIXED, 1)):
        found = {name: part.found for name, part in verdict.domains.items() if part.outcome == kind}
        names = sorted(found, key=lambda name: sign * found[name].accuracy_difference)
        if names:
            words = [f"{name} ({signed(found[name].accuracy_difference)} points)" for name in names]
            said.append(f"{kind} on {listed(words)}")
    rest = [name for name, part in verdict.domains.items() if not part.outcome.shown]
    if rest:
        said.append(f"no difference shown on {listed(rest, 4)}" if said else "no difference is shown on any")
    return f"By domain: {'; '.join(said)}."


def on_generated(generated: Collection[str], benchmarks: Collection[str]) -> str:
    """The limits of results on synthetic faces; "" if every benchmark is of photographs."""
    found = [name for name in benchmarks if name in generated]
    if not found:
        return ""
    where = "These benchmarks' faces" if len(found) == len(benchmarks) else f"The faces of {listed(found)}"
    return (
        f"{where} are synthetic. Such results show that training and verification work, and whether the gates find "
        "the known domains. They do not show the accuracy on photographs of people, and a threshold from them is "
        "not valid for photographs."
    )
