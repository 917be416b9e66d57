"""Dataset formats that are not read, and what to do with each: reported if nothing else was found."""

from __future__ import annotations

from pathlib import Path

from adaptface_jax.core.text import shown
from adaptface_jax.data.image_files import entries_of, is_dir

_FOLDERS = "write its images into one folder per identity"
ADVICE = {
    ".bin": "a .bin pack is a benchmark: --benchmark NAME={path}",
    **dict.fromkeys((".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar"), "unpack it, and name its folder"),
    **dict.fromkeys((".tfrecord", ".tfrecords"), "prepare it with TFDS: tfds build --file_format=array_record"),
    **dict.fromkeys((".mdb", ".lmdb", ".h5", ".hdf5", ".npz", ".npy", ".mat", ".pkl", ".pickle"), _FOLDERS),
    ".parquet": f"Parquet is only read by `adaptface classify`; {_FOLDERS}",
    ".array_record": "name the folder of the shards",
    **dict.fromkeys((".jpg", ".jpeg", ".png"), "name the folder that holds the identity folders"),
}
_OF_FOLDERS = set(ADVICE) - {".bin", ".array_record", ".jpg", ".jpeg", ".png"}


def advice(path: Path) -> str:
    """What to do with a file, or the contents of a folder, that is not yet a training set; "" if unknown."""
    if not path.is_dir():
        return ADVICE.get(path.suffix.lower(), "").format(path=shown(str(path)))
    names = [entry.name for entry in entries_of(str(path)) if not is_dir(entry)]
    likely = [name for name in names if name.endswith((".lst", "label.txt")) or name in ("train.txt", "train.csv")]
    if likely:
        return f"{shown(likely[0])} may list its images: data.train={shown(str(path / likely[0]))}"
    found = [suffix for suffix in (Path(name).suffix.lower() for name in names) if suffix in _OF_FOLDERS]
    return f"it holds {found[0]} files: {ADVICE[found[0]]}" if found else ""
