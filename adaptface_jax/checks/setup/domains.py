"""The domains of the training images: whether each has enough people, and the same people outside it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from adaptface_jax.checks.finding import Finding, note, ok, warning
from adaptface_jax.config.schema import Config
from adaptface_jax.core.text import plural, shown
from adaptface_jax.data.record import Source
from adaptface_jax.training.recognition.domains import unused

# Fewer people than these, or than a quarter of all, do not represent a condition.
FEW_PEOPLE = 10


def domains(config: Config, source: Source) -> Iterator[Finding]:
    """A finding for each domain. Recognition across it is learned only from people with images in it and outside it."""
    if source.domains is None:
        if source.label_columns:
            columns = ", ".join(map(shown, source.label_columns))
            yield note(
                "domains", f"labels of the images ({columns}) are not used", "data.domains defines domains by them"
            )
        return
    if reason := unused(config):
        yield note("domains", f"not used in training: {reason}")
    listed = np.ones(len(source), bool) if source.table is None else source.table.listed
    few = min(FEW_PEOPLE, source.num_classes // 4)
    for k, name in enumerate(source.domain_names):
        member = source.domains[:, k] > 0
        people = np.unique(source.labels[member])
        both = len(np.intersect1d(people, source.labels[~member & listed]))
        what = f"{plural(int(member.sum()), 'image')} of {len(people):,} people, {both:,} of them also outside it"
        check, numbers = f"domain {shown(name)}", {"images": member.sum(), "people": len(people), "both": both}
        if len(people) < max(few, 1):
            yield warning(check, f"{what}: few people", "the domain would represent their identities", **numbers)
        elif 2 * both < len(people):
            advice = "domain and identity coincide: gates could learn identities; label images of the same people"
            yield warning(check, what, advice, **numbers)
        else:
            yield ok(check, what, **numbers)
