# SPDX-License-Identifier: Apache-2.0
"""Any folder's pairs as a table: `path1,path2,same`, with or without a header; with one also `fold`, `domain` (the
category of a pair) and `domain1,domain2` (the conditions of the two images).

path1,path2,same,fold,domain,domain1,domain2
anna/1.jpg,anna/7.jpg,1,0,hard,pose+light,ordinary
anna/1.jpg,bert/2.jpg,0,0,easy,pose+light,
"""

from __future__ import annotations

import re

import numpy as np

from adaptface_jax.core.text import shown
from adaptface_jax.data.benchmarks.benchmark import NO_DOMAIN, Benchmark
from adaptface_jax.data.benchmarks.image_domains import ImageDomains
from adaptface_jax.data.benchmarks.list_rows import Labels, Listed, Row, is_number, truth, whole
from adaptface_jax.data.benchmarks.pair_list import Pairs

PAIRS = "pairs.csv"
_NEEDED = ("path1", "path2", "same")
_OF_IMAGES = ("domain1", "domain2")
_COLUMNS = (*_NEEDED, "fold", "domain", *_OF_IMAGES)
_INDEX = ("", "unnamed: 0")  # the row numbers that pandas writes as a first column

# Other names of the columns, in lowercase and without separators.
_ALIASES = {
    "same": (
        "issame sameperson label target decision match ismatch genuine y actual truth groundtruth issimilar".split()
    ),
    "path1": (
        "p1 file1 filex filename1 image1 imagex imagea image1path imagepath1 img1 imga img1path imgpath1 photo1 face1 "
        "x1 left"
    ).split(),
    "path2": (
        "p2 file2 filey filename2 image2 imagey imageb image2path imagepath2 img2 imgb img2path imgpath2 photo2 face2 "
        "x2 right"
    ).split(),
}
_NAMES = {alias: name for name, aliases in _ALIASES.items() for alias in aliases} | {name: name for name in _COLUMNS}


def columns_of(row: Row) -> tuple[str, ...] | None:
    """The columns that a first row names, "" for those that are not read; None if it names fewer than two of the
    required ones.

    Raises InputError for a name that is missing or duplicate.
    """
    words = [word.lower() for word in row.words]
    names = tuple(_NAMES.get(re.sub("[^a-z0-9]", "", word), word) for word in words)
    if len(set(names) & set(_NEEDED)) < 2:
        return None
    names = tuple(name if name in _COLUMNS else "" for name in names)
    needed = (*_NEEDED, *_OF_IMAGES) if set(_OF_IMAGES) & set(names) else _NEEDED
    missing = [name for name in needed if name not in names]
    read = [name for name in names if name]
    if missing or len(set(read)) != len(read):
        problem = f"column {missing[0]!r} is missing" if missing else "a column is named twice"
        row.line.refuse(problem, f"{','.join(_NEEDED)} and, optionally, fold, domain, and domain1 with domain2")
    return names


def unread(row: Row, columns: tuple[str, ...]) -> str:
    """The columns that are not read, to follow a description; pandas' row numbers are not worth a word."""
    names = [word for word, name in zip(row.words, columns, strict=True) if not name and word.lower() not in _INDEX]
    return f", without its {'columns' if len(names) > 1 else 'column'} {shown(', '.join(names))}" if names else ""


def open_table(pairs: Pairs, listed: Listed, columns: tuple[str, ...] = ()) -> Benchmark:
    """Paths are relative to the folder of `pairs`. `same` is as in `list_rows.truth`; `fold` an integer; `domain` any
    word or empty; `domain1` and `domain2` as in `image_domains`.

    columns: as returned by `columns_of`; none for two paths and a label, or a label and two paths.
    Raises InputError for a malformed table, missing images, and an image with different conditions in two rows.
    """
    domains, of_images, labels = list[str](), ImageDomains(), Labels()
    if not columns and listed.rows:
        last, first = (truth(listed.rows[0].words[place]) is not None for place in (-1, 0))
        columns = (_NEEDED[2], *_NEEDED[:2]) if first and not last else _NEEDED
    whole_rows = [row.words for row in listed.rows if len(row.words) == len(columns)]
    pairs.lookup.settle([words[columns.index(name)] for words in whole_rows for name in ("path1", "path2")])
    for row in listed.rows:
        line, words = row.line, row.words
        if len(words) != len(columns):
            line.refuse(f"has {len(words)} columns", ",".join(columns).lstrip(","))
        cells = dict(zip(columns, words, strict=True))
        same = labels.read(line, cells["same"])
        if not cells["path1"] or not cells["path2"]:
            line.refuse("a path is empty", "two images")
        fold = whole(cells["fold"]) if "fold" in cells else None
        if fold is not None and not is_number(fold):
            line.refuse(f"fold is {fold!r}", "an integer")
        pairs.add(cells["path1"], cells["path2"], same, None if fold is None else int(fold))
        domains.append(cells.get("domain", ""))
        for image, column in zip(pairs.index[-2:], _OF_IMAGES, strict=True):
            of_images.add(line, image, cells.get(column, ""))
    names = tuple(dict.fromkeys(filter(None, domains)))
    of_pair = [names.index(name) if name else NO_DOMAIN for name in domains]
    return pairs.benchmark(
        listed.file,
        f"pairs {shown(str(listed.file))}",
        pair_domain=np.array(of_pair, np.int32) if names else None,
        pair_names=names,
        image_domain=of_images.membership(len(pairs.keys)),
        domain_names=of_images.names(),
    )
