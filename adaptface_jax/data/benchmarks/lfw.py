"""LFW's own form: a folder a person, and `pairs.txt`.

    10	300                                     folds, and genuine pairs in each; as many impostor pairs follow them
    Abel_Pacheco	1	4                          genuine: Abel_Pacheco/Abel_Pacheco_0001.jpg and ..._0004.jpg
    Abdel_Madi_Shabneh	1	Dean_Barker	1       impostor

Huang et al., "Labeled Faces in the Wild", 2007. A header of one number (`pairsDevTest.txt`) means one set, which is
split into tenths like any other.
"""

from __future__ import annotations

import os
from pathlib import Path

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import shown
from adaptface_jax.data.benchmarks.benchmark import Benchmark
from adaptface_jax.data.benchmarks.pair_list import Pairs
from adaptface_jax.data.image_formats import SUFFIXES
from adaptface_jax.data.text_lines import Line, lines

PAIRS = "pairs.txt"
_FORMS = "`name i j` or `name1 i name2 j`"


def open_lfw(folder: Path, pairs_file: Path) -> Benchmark:
    """The pairs of `pairs_file` over the folders in `folder`; files may have another ending than `.jpg`.

    Raises InputError for a list that does not hold what its header says, and for missing images.
    """
    found = lines(pairs_file, f"LFW's {PAIRS}")
    header = next(found, None)
    if header is None:
        raise InputError(f"{shown(str(pairs_file))}: is empty; expected LFW's {PAIRS}")
    sizes = header.text.split()
    if not 1 <= len(sizes) <= 2 or not all(word.isascii() and word.isdigit() and int(word) for word in sizes):
        header.refuse("is no header", "`folds pairs-per-fold`, e.g. `10 300`")
    folds, each = (1, int(sizes[0])) if len(sizes) == 1 else (int(sizes[0]), int(sizes[1]))
    pairs, suffixes = Pairs(folder), _Suffixes(folder)
    for number, line in enumerate(found):
        fold, place = divmod(number, 2 * each)
        if fold >= folds:
            line.refuse(f"is one more than the {2 * folds * each} pairs of the header", f"{folds} x 2 x {each} pairs")
        first, second = _parse(line)
        same = first[0] == second[0]
        if same != (place < each):
            wanted = "a genuine" if place < each else "an impostor"
            line.refuse(f"is not {wanted} pair", f"{each} genuine, then {each} impostor pairs in each fold")
        pairs.add(suffixes.path(*first), suffixes.path(*second), same, fold if folds > 1 else None)
    if len(pairs.issame) != 2 * folds * each:
        raise InputError(
            f"{shown(str(pairs_file))}: holds {len(pairs.issame)} pairs; its header says {folds} x 2 x {each}"
        )
    return pairs.benchmark(pairs_file, f"LFW pairs {shown(str(pairs_file))}")


def _parse(line: Line) -> tuple[tuple[str, int], tuple[str, int]]:
    """Both images, (name, number) each."""
    words = line.text.split("\t") if "\t" in line.text else line.text.split()
    if len(words) == 3:
        words = [words[0], words[1], words[0], words[2]]
    if len(words) != 4:
        line.refuse(f"has {len(words)} words", _FORMS)
    names, numbers = words[::2], [word.strip() for word in words[1::2]]
    if not all(number.isascii() and number.isdigit() for number in numbers):
        line.refuse("has no image number where one belongs", _FORMS)
    return (names[0], int(numbers[0])), (names[1], int(numbers[1]))


class _Suffixes:
    """Which ending the files of a person have: `.jpg` as published, else the first that exists."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._order = sorted(SUFFIXES, key=lambda suffix: suffix != ".jpg")

    def path(self, name: str, number: int) -> str:
        stem = os.path.join(name, f"{name}_{number:04d}")
        for place, suffix in enumerate(self._order):
            if os.path.exists(os.path.join(self._folder, stem + suffix)):
                # The next image most likely ends like this one.
                self._order.insert(0, self._order.pop(place))
                return stem + suffix
        return stem + ".jpg"
