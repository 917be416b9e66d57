"""Forms of sets that are not read, and what to do with each: said where nothing else was found."""

from __future__ import annotations

from pathlib import Path

from adaptface_jax.core.text import shown
from adaptface_jax.data.image_files import entries_of, is_dir

_FOLDERS = "write its images into a folder for each identity"
ADVICE = {
    ".bin": "a .bin pack is a benchmark: --benchmark NAME={path}",
    **dict.fromkeys((".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar"), "unpack it, and name its folder"),
    **dict.fromkeys((".tfrecord", ".tfrecords"), "make it a set of TFDS: tfds build --file_format=array_record"),
    **dict.fromkeys((".mdb", ".lmdb", ".h5", ".hdf5", ".npz", ".npy", ".mat", ".pkl", ".pickle"), _FOLDERS),
    ".parquet": f"Parquet is read by `adaptface classify` alone; {_FOLDERS}",
    ".array_record": "name the folder of the shards",
    **dict.fromkeys((".jpg", ".jpeg", ".png"), "name the folder of the identities' folders"),
}
_OF_FOLDERS = set(ADVICE) - {".bin", ".array_record", ".jpg", ".jpeg", ".png"}


def advice(path: Path) -> str:
    """What to do with a file, or with what lies in a folder, that is no training set as it is; "" if unknown."""
    if not path.is_dir():
        return ADVICE.get(path.suffix.lower(), "").format(path=shown(str(path)))
    names = [entry.name for entry in entries_of(str(path)) if not is_dir(entry)]
    likely = [name for name in names if name.endswith((".lst", "label.txt")) or name in ("train.txt", "train.csv")]
    if likely:
        return f"{shown(likely[0])} may list its images: data.train={shown(str(path / likely[0]))}"
    found = [suffix for suffix in (Path(name).suffix.lower() for name in names) if suffix in _OF_FOLDERS]
    return f"it holds {found[0]} files: {ADVICE[found[0]]}" if found else ""
