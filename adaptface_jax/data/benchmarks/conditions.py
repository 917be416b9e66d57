# SPDX-License-Identifier: Apache-2.0
"""The conditions of a benchmark's images in terms of a run's domains, in the order of its experts."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from adaptface_jax.core.text import plural
from adaptface_jax.data.benchmarks.benchmark import Benchmark
from adaptface_jax.data.domains import Domains
from adaptface_jax.data.labels import LABELS, LabelTable, read_labels


def with_labels(benchmark: Benchmark, folder: Path, domains: Domains) -> Benchmark:
    """`with_domains`, by the label table in the folder of its images if there is one.

    Raises InputError for a table that `read_labels` refuses; it may list more images than the benchmark.
    """
    file = folder / LABELS
    table = read_labels(file, benchmark.keys, whole_set=False) if benchmark.keys and file.is_file() else None
    return with_domains(benchmark, domains, table)


def with_domains(benchmark: Benchmark, domains: Domains, table: LabelTable | None) -> Benchmark:
    """The same pairs; `domain_names` are those of `domains`, followed by those that only the list has.

    table: labels of its images; what the list itself says of an image takes precedence. Unchanged if there is neither.
    """
    own = benchmark.image_domain
    if own is None and table is None:
        return benchmark
    names = tuple(dict.fromkeys((*domains.names, *benchmark.domain_names)))
    found = np.zeros((len(benchmark.images), len(names)), np.uint8)
    if table is not None:
        found[:, : len(domains.names)] = domains.membership(table)
    if own is not None:
        said = np.flatnonzero(own.any(axis=1))
        found[said] = 0
        columns = np.array([names.index(name) for name in benchmark.domain_names])
        found[np.ix_(said, columns)] = own[said]
    known = f"conditions of {np.count_nonzero(found.any(axis=1)):,} of {plural(len(found), 'image')} known"
    description = f"{benchmark.description}, {known}"
    return dataclasses.replace(benchmark, image_domain=found, domain_names=names, description=description)
