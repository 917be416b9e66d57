"""IJB's 1:N protocol: mixed probes, each searched in both galleries, and the mean of the two as usually published."""

from __future__ import annotations

import numpy as np

from adaptface_jax.data.benchmarks.ijb_search import Listed, TemplateSearch
from adaptface_jax.evaluation.identification import Identification, search, summary
from adaptface_jax.evaluation.search import Faces

MEAN = "mean"


def search_templates(
    units: np.ndarray, listed: TemplateSearch, distractors: Faces | None = None
) -> dict[str, Identification]:
    """Each gallery's metrics by its name, and those of all of them combined by `summary`, as MEAN.

    units: float32 [T, E], of the templates, from `templates.template_embeddings`. distractors: people in no
    list, with negative numbers, who are added to each gallery.
    Raises InputError if a gallery contains nobody from the probes.
    """

    def faces(of: Listed) -> Faces:
        return Faces(units[of.template], of.person)

    probes = faces(listed.probes)
    outcomes = {name: search(faces(gallery), probes, distractors) for name, gallery in listed.galleries.items()}
    found = {name: summary([outcome]) for name, outcome in outcomes.items()}
    return found if len(found) == 1 else found | {MEAN: summary(list(outcomes.values()))}
