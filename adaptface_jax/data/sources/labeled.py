"""Labels of a training set from a named table or the one in its folder, and the domains derived from them."""

from __future__ import annotations

import os
from pathlib import Path

from adaptface_jax.core.errors import InputError
from adaptface_jax.data.domains import parse_domains
from adaptface_jax.data.labels import LABELS, label_columns, read_labels
from adaptface_jax.data.record import Keys, Source


def labels_beside(path: str) -> str:
    """The label table in the folder of a training set, or next to its list; "" if there is none."""
    file = os.path.join(os.path.dirname(path) if os.path.isfile(path) else path, LABELS)
    return file if os.path.isfile(file) and file != path else ""


def give_labels(source: Source, beside: str, labels: str, domains: str) -> None:
    """Set the table and the domains of a source, which must be a full dataset: a row for any other image is an error.

    beside: the table in the dataset's folder; read only if domains are derived from it. labels: a table that replaces
    it. domains: as for `parse_domains`; empty for the source's own.
    Raises InputError for domains without labels, and whatever reading the table and deriving the domains raise.
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
            f"data.domains: {source.description} has no labels; put {LABELS} into its folder, or set data.labels"
        )
    wanted.check(source.table)
    source.domains, source.domain_names = wanted.membership(source.table), wanted.names
