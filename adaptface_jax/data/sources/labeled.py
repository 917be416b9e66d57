"""Labels of a training set from the table that is named or stands in its folder, and the domains made of them."""

from __future__ import annotations

import os
from pathlib import Path

from adaptface_jax.core.errors import InputError
from adaptface_jax.data.domains import parse_domains
from adaptface_jax.data.labels import LABELS, label_columns, read_labels
from adaptface_jax.data.record import Keys, Source


def labels_beside(path: str) -> str:
    """The table that stands in the folder of a training set, or beside its list, "" if there is none."""
    file = os.path.join(os.path.dirname(path) if os.path.isfile(path) else path, LABELS)
    return file if os.path.isfile(file) and file != path else ""


def give_labels(source: Source, beside: str, labels: str, domains: str) -> None:
    """Set the table and the domains of a source, which must be a whole set: a row of any other image is an error.

    beside: the table in the set's folder; only read where domains are made of it. labels: a table that replaces it.
    domains: as `parse_domains` takes them; empty for those that the source has by itself.
    Raises InputError for domains without labels, and what reading the table and making the domains raise.
    """
    wanted = parse_domains(domains) if domains else None
    file = labels or (beside if wanted else "")
    if file:
        source.table, source.domains, source.domain_names = read_labels(Path(file), Keys(source)), None, ()
    source.label_columns = tuple(source.table.columns) if source.table else ()
    if beside and not source.label_columns:
        source.label_columns = label_columns(Path(beside))
    if wanted is None:
        return
    if source.table is None:
        raise InputError(
            f"data.domains: {source.description} has no labels; put {LABELS} into its folder, or name it by data.labels"
        )
    wanted.check(source.table)
    source.domains, source.domain_names = wanted.membership(source.table), wanted.names
