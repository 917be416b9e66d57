# SPDX-License-Identifier: Apache-2.0
"""From the path in `--benchmark NAME=PATH` to a verification benchmark."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import plural, shown
from adaptface_jax.data.benchmarks.benchmark import Benchmark
from adaptface_jax.data.benchmarks.bins import open_bin
from adaptface_jax.data.benchmarks.cfp import PROTOCOLS as CFP_PROTOCOLS
from adaptface_jax.data.benchmarks.cfp import open_cfp
from adaptface_jax.data.benchmarks.conditions import with_labels
from adaptface_jax.data.benchmarks.lfw import PAIRS as LFW_PAIRS
from adaptface_jax.data.benchmarks.listed import open_list
from adaptface_jax.data.benchmarks.pair_csv import PAIRS as CSV_PAIRS
from adaptface_jax.data.benchmarks.rfw import is_rfw, open_rfw
from adaptface_jax.data.benchmarks.synthetic import open_synthetic_benchmark
from adaptface_jax.data.domains import parse_domains
from adaptface_jax.data.image_files import MOST_FOLDERS, images_below, is_no_ones
from adaptface_jax.data.skipped_files import SkippedFiles
from adaptface_jax.data.sources.synthetic import PREFIX as SYNTHETIC
from adaptface_jax.data.sources.unread import ARCHIVES

# The prefix of a path that is not a file -> the function that opens it, given the path and `data.domains`. A new kind
# of benchmark is a row here.
PREFIXES: dict[str, Callable[[str, str], Benchmark]] = {SYNTHETIC: open_synthetic_benchmark}


def open_benchmark(path: str, domains: str = "") -> Benchmark:
    """Opens a verification benchmark.

    path: an InsightFace `.bin` pack; a folder with a list of pairs (`lists_in`), with CFP's `Protocol` (FOLDER:FF for
    frontal against frontal), or with RFW's `data` and `txts`; FOLDER:LIST, a list in any format (see `open_list`) over
    a folder, located in the folder, next to it or anywhere; a list (LISTS) with paths relative to its own folder; or
    `synthetic:SPEC`.
    domains: the setting `data.domains` of the evaluated run, "" for none. With it, a `labels.csv` in the folder of the
    images gives their conditions, unless the list itself (columns domain1, domain2, or CFP's views) does.
    Raises InputError if nothing exists at the path, or not what its name implies.
    """
    for prefix, opened in PREFIXES.items():
        if path.startswith(prefix):
            return opened(path, domains)
    path = os.path.expanduser(path)
    file = Path(path)
    if file.is_file() and file.suffix.lower() in PACKS:
        return open_bin(file)
    folder, listed = file, ""
    if file.is_file() and file.suffix.lower() in LISTS:
        folder, listed = file.parent, file.name
    elif not file.exists() and ":" in path:
        before, _, listed = path.rpartition(":")
        folder = Path(before)
    if folder.is_dir():
        benchmark = _open_listed(folder, listed)
        return with_labels(benchmark, folder, parse_domains(domains)) if domains else benchmark
    found = "is not a .bin, list or folder" if file.exists() else "does not exist"
    if file.exists() and file.suffix.lower() in ARCHIVES:
        found = "is an archive: unpack it, and name what is inside"
    raise InputError(f"benchmark: {path!r} {found}; expected {_BENCHMARKS}")


PACKS = (".bin", ".pkl", ".pickle")

# The extensions of a list that is given without a folder.
LISTS = (".csv", ".txt", ".tsv", ".lst", ".list")

_BENCHMARKS = (
    "an InsightFace .bin pack, a folder with a pair list, CFP's Protocol or RFW's txts, FOLDER:LIST, a list "
    f"({' '.join(LISTS)}), or {SYNTHETIC}SPEC"
)


def _open_listed(folder: Path, listed: str) -> Benchmark:
    """The pairs of the named list, or of the one in the folder, over the images of the folder."""
    if not listed and is_rfw(folder):
        return open_rfw(folder)
    if (folder / "Protocol").is_dir() and listed in ("", *CFP_PROTOCOLS):
        return open_cfp(folder, listed or CFP_PROTOCOLS[0])
    if listed:
        places = [folder / listed, Path(listed), folder.parent / listed]
        found = next((place for place in places if place.is_file()), None)
        if found is None:
            raise InputError(f"benchmark: {shown(str(places[0]))} does not exist; expected a pair list")
    else:
        there = lists_in(folder)
        if len(there) != 1:
            _refuse_bcolz(folder)
            several = f"holds {len(there)} pair lists, {shown(', '.join(there[:4]))}; choose one as FOLDER:LIST"
            problem = several if there else f"holds no pair list{_nearby(folder)}"
            raise InputError(f"benchmark: {shown(str(folder))} {problem}; expected {_BENCHMARKS}")
        found = folder / there[0]
    return open_list(folder, found)


def lists_in(folder: Path) -> list[str]:
    """The pair lists in a folder: pairs.txt or pairs.csv, else those with `pair` in their names (pairs_CPLFW.txt)."""
    usual = [name for name in (LFW_PAIRS, CSV_PAIRS) if (folder / name).is_file()]
    return usual or sorted(
        path.name
        for path in folder.iterdir()
        if path.suffix.lower() in LISTS and "pair" in path.stem.lower() and path.is_file() and path.name[0] != "."
    )


def _nearby(folder: Path) -> str:
    """Where a folder without a pair list has benchmarks; "" if nowhere."""
    packs = sorted(path.name for path in folder.glob("*.bin"))
    if packs:
        return f", but {plural(len(packs), 'pack')}: name one, e.g. {shown(str(folder / packs[0]))}"
    inner = sorted(path for path in folder.glob("*/") if not is_no_ones(path.name))
    held = [path for path in inner if _is_benchmark(path)] or [
        deeper
        for path in inner[:MOST_FOLDERS]
        for deeper in sorted(path.glob("*/"))[:MOST_FOLDERS]
        if _is_benchmark(deeper)
    ]
    if held:
        return f", but {shown(str(held[0]))} does"
    people = sum(1 for path in inner if next(images_below(path, SkippedFiles()), None) is not None)
    return f", but {plural(people, 'folder')} of images: `adaptface pairs` draws pairs of people" if people > 1 else ""


def _is_benchmark(folder: Path) -> bool:
    return bool(lists_in(folder)) or (folder / "Protocol").is_dir() or is_rfw(folder)


def _refuse_bcolz(folder: Path) -> None:
    """Raise InputError for a folder that is, or holds, the bcolz format of face.evoLVe and its relatives."""
    for place in (folder, *sorted(folder.glob("*/"))):
        if (place / "meta" / "sizes").is_file() and (place / "data").is_dir():
            raise InputError(
                f"benchmark: {shown(str(place))} is a bcolz array, the benchmark format of face.evoLVe, "
                "InsightFace_Pytorch, CurricularFace and AdaFace, which only bcolz reads; use the .bin pack of the "
                "same benchmark instead (InsightFace's datasets have it next to train.rec)"
            )
