# SPDX-License-Identifier: Apache-2.0
"""A pair list in any of its formats, recognized by its rows, not by its name."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import shown
from adaptface_jax.data.benchmarks.benchmark import Benchmark
from adaptface_jax.data.benchmarks.lfw import counts_of, open_counted, open_uncounted
from adaptface_jax.data.benchmarks.list_rows import Form, has_names, read_rows
from adaptface_jax.data.benchmarks.pair_csv import columns_of, open_table, unread
from adaptface_jax.data.benchmarks.pair_list import Pairs
from adaptface_jax.data.benchmarks.two_lines import open_two_lines

FORMS = (
    "`path1,path2,same` (or label first), LFW's `name i j` and `name1 i name2 j`, or two lines `path label` per pair; "
    "other columns under a header that names these"
)


def open_list(folder: Path, file: Path) -> Benchmark:
    """The pairs of a list over the images of `folder`: a table with or without column names, LFW's format with or
    without its counts or with column names (RFW, Kaggle), or two lines per pair (CPLFW).

    Raises InputError, with the line, for a row of a different kind from the list's, and for missing images.
    """
    listed, pairs = read_rows(file), Pairs(folder)
    if not listed.rows:
        raise InputError(f"{shown(str(file))}: is empty and lists no pair; expected {FORMS}")
    first = listed.rows[0]
    if columns := columns_of(first):
        found = open_table(pairs, dataclasses.replace(listed, rows=listed.rows[1:]), columns)
        return dataclasses.replace(found, description=found.description + unread(first, columns))
    if counts := counts_of(first):
        return open_counted(pairs, dataclasses.replace(listed, rows=listed.rows[1:]), counts)
    note = ""
    if listed.form and has_names(listed.rows):
        listed = dataclasses.replace(listed, rows=listed.rows[1:])
        note = ", line 1 read as column names"
    if listed.form is None:
        first.line.refuse("is not a row of a pair list", FORMS)
    if listed.form is Form.LFW:
        found = open_uncounted(pairs, listed)
    elif listed.form is Form.HALF:
        found = open_two_lines(pairs, listed)
    else:
        found = open_table(pairs, listed)
    return dataclasses.replace(found, description=found.description + note)
