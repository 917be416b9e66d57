"""Racial Faces in the Wild, as published: a list and a folder of people for each of four groups.

    txts/African/African_pairs.txt       LFW's format without a header: `m.0abc 1 2`, `m.0abc 1 m.0xyz 3`; 10 folds
    data/African/m.0abc/m.0abc_0001.jpg

Wang et al., "Racial Faces in the Wild: Reducing Racial Bias by Information Maximization Adaptation Network", 2019.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from adaptface_jax.core.text import shown
from adaptface_jax.data.benchmarks.benchmark import Benchmark
from adaptface_jax.data.benchmarks.listed import open_list
from adaptface_jax.data.joined import Joined

_LIST = "{0}_pairs.txt"


def is_rfw(folder: Path) -> bool:
    """Whether a folder has RFW's lists."""
    return bool(groups_in(folder))


def groups_in(folder: Path) -> list[str]:
    """The groups that have a list and images, in order of their names."""
    lists = sorted((folder / "txts").glob("*/*_pairs.txt"))
    names = [file.parent.name for file in lists if file.name == _LIST.format(file.parent.name)]
    return [name for name in names if (folder / "data" / name).is_dir()]


def open_rfw(folder: Path) -> Benchmark:
    """All groups as one benchmark: the group of a pair is its domain, so all share one threshold per fold.

    Raises InputError as `open_list` does.
    """
    names = groups_in(folder)
    parts = [open_list(folder / "data" / name, folder / "txts" / name / _LIST.format(name)) for name in names]
    starts = itertools.accumulate((len(part.images) for part in parts), initial=0)
    return Benchmark(
        images=Joined([part.images for part in parts]),
        index=np.concatenate([part.index + start for part, start in zip(parts, starts, strict=False)]).astype(np.int32),
        issame=np.concatenate([part.issame for part in parts]),
        description=f"RFW {shown(str(folder))}, {', '.join(names)}",
        pair_domain=np.repeat(np.arange(len(parts), dtype=np.int32), [len(part.issame) for part in parts]),
        pair_names=tuple(names),
        keys=[f"data/{name}/{key}" for name, part in zip(names, parts, strict=True) for key in part.keys or ()],
        fold=_joined([part.fold for part in parts]),
        person=_joined([part.person for part in parts], apart=True),
    )


def _joined(parts: Sequence[np.ndarray | None], apart: bool = False) -> np.ndarray | None:
    """Concatenated numbers, None if a part has none. apart: offset so that no two parts share a number."""
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    starts = itertools.accumulate((int(part.max()) + 1 if apart else 0 for part in known), initial=0)
    return np.concatenate([part + start for part, start in zip(known, starts, strict=False)]).astype(np.int32)
