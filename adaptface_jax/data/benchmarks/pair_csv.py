"""Any folder's pairs as a table: `path1,path2,same`, with or without a header; with one also `fold`, `domain` (what the
list sorts a pair under) and `domain1,domain2` (the conditions of the two images).

path1,path2,same,fold,domain,domain1,domain2
anna/1.jpg,anna/7.jpg,1,0,hard,pose+light,ordinary
anna/1.jpg,bert/2.jpg,0,0,easy,pose+light,
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from adaptface_jax.core.text import shown
from adaptface_jax.data.benchmarks.benchmark import NO_DOMAIN, Benchmark
from adaptface_jax.data.benchmarks.image_domains import ImageDomains
from adaptface_jax.data.benchmarks.pair_list import Pairs
from adaptface_jax.data.text_lines import Line, lines

PAIRS = "pairs.csv"
_NEEDED = ("path1", "path2", "same")
_OF_IMAGES = ("domain1", "domain2")
_COLUMNS = (*_NEEDED, "fold", "domain", *_OF_IMAGES)
_TRUTH = {"1": True, "true": True, "0": False, "false": False}


def open_pair_csv(folder: Path, file: Path) -> Benchmark:
    """Paths are relative to `folder`. `same` is 1, 0, true or false; `fold` a whole number; `domain` any word or empty;
    `domain1` and `domain2` as in `image_domains`.

    Raises InputError for a malformed table, missing images, and an image with different conditions in two rows.
    """
    pairs, domains, of_images = Pairs(folder), list[str](), ImageDomains()
    columns: tuple[str, ...] = ()
    for line in lines(file, "a table path1,path2,same"):
        words = _words(line)
        if not columns:
            columns = _header(line, words)
            if words[0].lower() in _COLUMNS:
                continue
        if len(words) != len(columns):
            line.refuse(f"has {len(words)} columns", ",".join(columns))
        row = dict(zip(columns, words, strict=True))
        same = _TRUTH.get(row["same"].lower())
        if same is None:
            line.refuse(f"same is {row['same']!r}", "1, 0, true or false")
        if not row["path1"] or not row["path2"]:
            line.refuse("a path is empty", "two images")
        fold = row.get("fold")
        if fold is not None and not (fold.isascii() and fold.isdigit()):
            line.refuse(f"fold is {fold!r}", "a whole number")
        pairs.add(row["path1"], row["path2"], same, None if fold is None else int(fold))
        domains.append(row.get("domain", ""))
        for image, column in zip(pairs.index[-2:], _OF_IMAGES, strict=True):
            of_images.add(line, image, row.get(column, ""))
    names = tuple(dict.fromkeys(filter(None, domains)))
    of_pair = [names.index(name) if name else NO_DOMAIN for name in domains]
    return pairs.benchmark(
        file,
        f"pairs {shown(str(file))}",
        pair_domain=np.array(of_pair, np.int32) if names else None,
        pair_names=names,
        image_domain=of_images.membership(len(pairs.keys)),
        domain_names=of_images.names(),
    )


def _words(line: Line) -> list[str]:
    try:
        return [word.strip() for word in next(csv.reader([line.text]))]
    except csv.Error as error:
        line.refuse(str(error), "a table path1,path2,same")


def _header(line: Line, words: list[str]) -> tuple[str, ...]:
    """The columns that the first line names, or those of a table without a header."""
    names = tuple(word.lower() for word in words)
    if names[0] not in _COLUMNS:
        return _NEEDED
    needed = (*_NEEDED, *_OF_IMAGES) if set(_OF_IMAGES) & set(names) else _NEEDED
    wrong = [name for name in names if name not in _COLUMNS] or [name for name in needed if name not in names]
    if wrong or len(set(names)) != len(names):
        problem = f"column {wrong[0]!r} is unknown or missing" if wrong else "a column is named twice"
        line.refuse(problem, f"{','.join(_NEEDED)} and, optionally, fold, domain, and domain1 with domain2")
    return names
