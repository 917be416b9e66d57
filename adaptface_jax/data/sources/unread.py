# SPDX-License-Identifier: Apache-2.0
"""Dataset formats that are not read, and what to do with each: reported if nothing else was found."""

from __future__ import annotations

import os
import re
from pathlib import Path

from adaptface_jax.core.text import shown
from adaptface_jax.data.image_files import MOST_FOLDERS, entries_of, is_dir, is_no_ones

ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar")
UNPACK = "unpack it, and name its folder"
_FOLDERS = "write its images into one folder per identity"
ADVICE = {
    ".bin": "a .bin pack is a benchmark: --benchmark NAME={path}",
    **dict.fromkeys(ARCHIVES, UNPACK),
    **dict.fromkeys((".tfrecord", ".tfrecords"), "prepare it with TFDS: tfds build --file_format=array_record"),
    **dict.fromkeys(
        (".arrow", ".beton", ".mdb", ".lmdb", ".h5", ".hdf5", ".npz", ".npy", ".mat", ".pkl", ".pickle"), _FOLDERS
    ),
    ".parquet": f"Parquet is only read by `adaptface classify`; {_FOLDERS}",
    ".array_record": "name the folder of the shards",
    **dict.fromkeys((".jpg", ".jpeg", ".png"), "name the folder that holds the identity folders"),
}
# Names of lists of images and labels: label.txt, train.lst, labels.csv, identity_CelebA.txt, train_list.txt ...
_LIST = re.compile(r"\.lst$|^(.*[_-])?(labels?|train|identity)([_-].*)?\.(txt|csv|tsv)$", re.IGNORECASE)
_SHARDS = "dataset.json"
_OF_FOLDERS = set(ADVICE) - {".bin", ".array_record", ".jpg", ".jpeg", ".png"}


def advice(path: Path) -> str:
    """What to do with a file, or the contents of a folder, that is not yet a training set; "" if unknown."""
    if not path.is_dir():
        return ADVICE.get(_ending(path.name), "").format(path=shown(str(path)))
    names = [entry.name for entry in entries_of(str(path)) if not is_dir(entry)]
    likely = [name for name in names if _LIST.search(name)]
    if likely:
        return f"{shown(likely[0])} may list its images: data.train={shown(str(path / likely[0]))}"
    if found := [ending for ending in map(_ending, names) if ending in _OF_FOLDERS]:
        return f"it holds {found[0]} files: {ADVICE[found[0]]}"
    inner = [Path(entry.path) for entry in entries_of(str(path)) if is_dir(entry) and not is_no_ones(entry.name)]
    for folder in inner[:MOST_FOLDERS]:
        for file in sorted(folder.iterdir()) if os.access(folder, os.R_OK | os.X_OK) else ():
            if file.name == _SHARDS or file.suffix == ".rec":
                return f"its {shown(folder.name)}/ holds {shown(file.name)}: data.train={shown(str(folder))}"
            if (ending := _ending(file.name)) in _OF_FOLDERS:
                return f"its {shown(folder.name)}/ holds {ending} files: {ADVICE[ending]}"
    return ""


def _ending(name: str) -> str:
    """A file's ending, without the number of a shard: `.tfrecord-00000-of-00010`."""
    return Path(name).suffix.lower().partition("-")[0]
