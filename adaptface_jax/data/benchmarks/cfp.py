# SPDX-License-Identifier: Apache-2.0
"""Celebrities in Frontal-Profile, as published: Sengupta et al., "Frontal to Profile Face Verification in the Wild",
2016.

    Data/Images/001/frontal/01.jpg   Data/Images/001/profile/01.jpg
    Protocol/Pair_list_F.txt         lines `1 ../Data/Images/001/frontal/01.jpg`; Pair_list_P.txt the same of profiles
    Protocol/Split/FP/01/same.txt    lines `frontal,profile`, numbers of those lists; diff.txt the same; FF likewise
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import shown
from adaptface_jax.data.benchmarks.benchmark import Benchmark
from adaptface_jax.data.benchmarks.pair_list import Pairs
from adaptface_jax.data.text_lines import lines

PROTOCOLS = ("FP", "FF")
VIEWS = ("frontal", "profile")
_LISTS = {"F": "Pair_list_F.txt", "P": "Pair_list_P.txt"}


def open_cfp(folder: Path, protocol: str = "FP") -> Benchmark:
    """Frontal against profile (FP), or frontal against frontal (FF); the splits are the folds.

    An image's view is its condition. Raises InputError for lists that are missing or malformed, and missing images.
    """
    files = [_image_list(folder / "Protocol" / _LISTS[side]) for side in protocol]
    splits = folder / "Protocol" / "Split" / protocol
    names = sorted(path.name for path in splits.iterdir() if path.is_dir()) if splits.is_dir() else []
    if not names:
        raise InputError(f"{shown(str(splits))}: holds no split; expected 01, 02 ... with same.txt and diff.txt")
    pairs = Pairs(folder)
    for fold, name in enumerate(names):
        for kind in ("same", "diff"):
            for line in lines(splits / name / f"{kind}.txt", "CFP's list of pairs"):
                words = [word.strip() for word in line.text.split(",")]
                if len(words) != 2 or not all(word.isascii() and word.isdigit() for word in words):
                    line.refuse(
                        "is not a pair", f"two numbers of {_LISTS[protocol[0]]} and {_LISTS[protocol[1]]}, `12,5`"
                    )
                numbers = [int(word) for word in words]
                for number, known in zip(numbers, files, strict=True):
                    if number not in known:
                        line.refuse(f"image {number} is in no list", f"a number of the {len(known)} in the list")
                first, second = (known[number] for number, known in zip(numbers, files, strict=True))
                pairs.add(first, second, kind == "same", fold)
    profile = np.array(["profile" in key.split("/") for key in pairs.keys])
    view = np.stack([~profile, profile], axis=1).astype(np.uint8)
    return pairs.benchmark(splits, f"CFP-{protocol} {shown(str(folder))}", image_domain=view, domain_names=VIEWS)


def _image_list(file: Path) -> dict[int, str]:
    """Number -> path within the dataset's folder."""
    found: dict[int, str] = {}
    expected = "`number path`, e.g. `1 ../Data/Images/001/frontal/01.jpg`"
    for line in lines(file, "CFP's list of images"):
        number, *paths = line.text.split(maxsplit=1)
        if not (number.isascii() and number.isdigit() and paths):
            line.refuse("is not an image", expected)
        if int(number) in found:
            line.refuse(f"image {number} is listed twice", expected)
        # Relative to Protocol/, with either slash.
        found[int(number)] = paths[0].replace("\\", "/").removeprefix("../")
    return found
