"""Any folder's pairs as a table: `path1,path2,same`, with or without a header; with one also `fold` and `domain`.

path1,path2,same,fold,domain
anna/1.jpg,anna/7.jpg,1,0,pose
anna/1.jpg,bert/2.jpg,0,0,age
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from adaptface_jax.core.text import shown
from adaptface_jax.data.benchmarks.benchmark import Benchmark
from adaptface_jax.data.benchmarks.pair_list import Pairs
from adaptface_jax.data.record import UNKNOWN_DOMAIN
from adaptface_jax.data.text_lines import Line, lines

PAIRS = "pairs.csv"
_NEEDED = ("path1", "path2", "same")
_COLUMNS = (*_NEEDED, "fold", "domain")
_TRUTH = {"1": True, "true": True, "0": False, "false": False}


def open_pair_csv(folder: Path, file: Path) -> Benchmark:
    """Paths are relative to `folder`. `same` is 1, 0, true or false; `fold` a whole number; an empty `domain` unknown.

    An image's domain is that of its pairs where they agree. Raises InputError for a malformed table and missing images.
    """
    pairs, domains = Pairs(folder), list[str]()
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
    description = f"pairs {shown(str(file))}"
    names = tuple(dict.fromkeys(filter(None, domains)))
    if not names:
        return pairs.benchmark(file, description)
    of_pair = np.array([names.index(name) if name else UNKNOWN_DOMAIN for name in domains], np.int32)
    return pairs.benchmark(
        file,
        description,
        pair_domain=of_pair,
        image_domain=_of_images(np.array(pairs.index), of_pair, len(pairs.keys)),
        domain_names=names,
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
    wrong = [name for name in names if name not in _COLUMNS] or [name for name in _NEEDED if name not in names]
    if wrong or len(set(names)) != len(names):
        problem = f"column {wrong[0]!r} is unknown or missing" if wrong else "a column is named twice"
        line.refuse(problem, f"{','.join(_NEEDED)} and, optionally, fold and domain")
    return names


def _of_images(index: np.ndarray, of_pair: np.ndarray, images: int) -> np.ndarray:
    """The domain of each image, int32 [M]: that of all of its pairs, or UNKNOWN_DOMAIN where they differ."""
    of_entry = np.repeat(of_pair, 2)
    low, high = np.full(images, np.iinfo(np.int32).max, np.int32), np.full(images, UNKNOWN_DOMAIN, np.int32)
    np.minimum.at(low, index, of_entry)
    np.maximum.at(high, index, of_entry)
    return np.where(low == high, high, UNKNOWN_DOMAIN).astype(np.int32)
