# SPDX-License-Identifier: Apache-2.0
"""LFW's own format: one folder per person, and `pairs.txt`.

    10	300                                     folds, and genuine pairs in each, followed by as many impostor pairs
    Abel_Pacheco	1	4                          genuine: Abel_Pacheco/Abel_Pacheco_0001.jpg and ..._0004.jpg
    Abdel_Madi_Shabneh	1	Dean_Barker	1       impostor

Huang et al., "Labeled Faces in the Wild", 2007. A header of one number (`pairsDevTest.txt`) means one set. RFW's lists
(Wang et al., "Racial Faces in the Wild", 2019) have no header, Kaggle's copy has column names and commas.
"""

from __future__ import annotations

import itertools

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import plural, shown
from adaptface_jax.data.benchmarks.benchmark import FOLDS, Benchmark
from adaptface_jax.data.benchmarks.list_rows import Listed, Row, is_number, whole
from adaptface_jax.data.benchmarks.pair_list import Pairs
from adaptface_jax.data.lookup import Lookup

PAIRS = "pairs.txt"
# The published names of the files, and others in use: without folders, without zeros, without the person's name.
_FILES = ("{0}/{0}_{1:04d}", "{0}_{1:04d}", "{0}/{0}_{1}", "{0}_{1}", "{0}/{1:04d}", "{0}/{1}")
_TRIES = 20  # missing images after which the files are not looked for in a subfolder
_FORMS = "`name i j` or `name1 i name2 j`"


def counts_of(row: Row) -> tuple[int, int] | None:
    """The number of folds, and of genuine pairs in each, from a header; None for any other row."""
    sizes = row.line.text.split()
    if not 1 <= len(sizes) <= 2 or not all(is_number(word) and int(word) for word in sizes):
        return None
    return (1, int(sizes[0])) if len(sizes) == 1 else (int(sizes[0]), int(sizes[1]))


def open_counted(pairs: Pairs, listed: Listed, counts: tuple[int, int]) -> Benchmark:
    """The pairs of a list with a header, over the folders of people; files may have an extension other than `.jpg`.

    Raises InputError for a list that contradicts its header, and for missing images.
    """
    (folds, each), spelling = counts, _Spelling(pairs.lookup)
    for number, row in enumerate(listed.rows):
        fold, place = divmod(number, 2 * each)
        if fold >= folds:
            row.line.refuse(f"exceeds the {2 * folds * each} pairs in the header", f"{folds} x 2 x {each} pairs")
        first, second = _parse(row)
        same = first[0] == second[0]
        if same != (place < each):
            wanted = "a genuine" if place < each else "an impostor"
            row.line.refuse(f"is not {wanted} pair", f"{each} genuine, then {each} impostor pairs in each fold")
        pairs.add(spelling.path(*first), spelling.path(*second), same, fold if folds > 1 else None)
    name = shown(str(listed.file))
    if len(pairs.issame) != 2 * folds * each:
        raise InputError(f"{name}: holds {plural(len(pairs.issame), 'pair')}; its header says {folds} x 2 x {each}")
    return pairs.benchmark(listed.file, f"LFW pairs {name}")


def open_uncounted(pairs: Pairs, listed: Listed) -> Benchmark:
    """The pairs of a list without a header. If runs of genuine and impostor pairs of equal lengths alternate, every two
    are a fold, as in RFW's 10 x (300 + 300)."""
    spelling = _Spelling(pairs.lookup)
    parsed = [_parse(row) for row in listed.rows]
    same = [first[0] == second[0] for first, second in parsed]
    runs = [(kind, len(list(run))) for kind, run in itertools.groupby(same)]
    blocks = len(runs) // 2
    regular = 2 <= blocks <= FOLDS and len(set(runs)) == 2 and len(runs) % 2 == 0 and runs[0][0]
    for number, (first, second) in enumerate(parsed):
        fold = number * blocks // len(parsed) if regular else None
        pairs.add(spelling.path(*first), spelling.path(*second), same[number], fold)
    what = f", {blocks} folds from its runs of genuine and impostor pairs" if regular else ""
    return pairs.benchmark(listed.file, f"LFW pairs {shown(str(listed.file))}, no counts{what}")


def _parse(row: Row) -> tuple[tuple[str, int], tuple[str, int]]:
    """The two images, each as (name, number)."""
    words = row.words[:-1] if len(row.words) == 4 and not row.words[3] else row.words
    if len(words) == 3:
        words = [words[0], words[1], words[0], words[2]]
    if len(words) != 4:
        row.line.refuse(f"has {len(words)} words", _FORMS)
    names, numbers = words[::2], [whole(word) for word in words[1::2]]
    if not all(map(is_number, numbers)):
        row.line.refuse("has no image number where one is expected", _FORMS)
    return (names[0], int(numbers[0])), (names[1], int(numbers[1]))


class _Spelling:
    """The files of people: by their published names, or else by the first of the other usual ones that exists."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup
        self._forms = list(_FILES)
        self._tries = _TRIES

    def path(self, name: str, number: int) -> str:
        """The path by which the lookup finds an image, or its published one."""
        while True:
            for place, form in enumerate(self._forms):
                file = form.format(name, number)
                # Any ending, but `.jpg` as published where there are several.
                if found := next((path for path in (file, f"{file}.jpg") if self._lookup.find(path)), None):
                    # The next image most likely has the same form.
                    self._forms.insert(0, self._forms.pop(place))
                    return found
            self._tries -= 1
            if self._tries < 0 or not any(self._lookup.settle([form.format(name, number)]) for form in self._forms):
                return f"{_FILES[0].format(name, number)}.jpg"
