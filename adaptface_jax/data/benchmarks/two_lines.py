# SPDX-License-Identifier: Apache-2.0
"""Lists with half a pair per line, `path label`: two lines are a pair, and the label is on both.

Zheng and Deng, "Cross-Pose LFW", 2018 (pairs_CPLFW.txt, pairs_CALFW.txt): some copies have a line of column names.
"""

from __future__ import annotations

from adaptface_jax.core.text import shown
from adaptface_jax.data.benchmarks.benchmark import Benchmark
from adaptface_jax.data.benchmarks.list_rows import Form, Labels, Listed, form_of
from adaptface_jax.data.benchmarks.pair_list import Pairs

_EXPECTED = "`path label`, the same label on both lines of a pair"


def open_two_lines(pairs: Pairs, listed: Listed) -> Benchmark:
    """The pairs of a list whose rows are Form.HALF.

    Raises InputError for a row of another form, two halves with different labels, an unpaired half, and missing images.
    """
    labels = Labels()
    pairs.lookup.settle([row.words[0] for row in listed.rows if row.words])
    before: tuple[str, bool] | None = None
    for row in listed.rows:
        if form_of(row.words) is not Form.HALF:
            row.line.refuse("is not half a pair", _EXPECTED)
        path, same = row.words[0], labels.read(row.line, row.words[1])
        if before is None:
            before = path, same
            continue
        if before[1] != same:
            row.line.refuse("has a different label from the first half of its pair, the line before", _EXPECTED)
        pairs.add(before[0], path, same)
        before = None
    if before is not None:
        row.line.refuse("is half a pair: the list has an odd number of lines", _EXPECTED)
    return pairs.benchmark(listed.file, f"pairs of two lines {shown(str(listed.file))}")
