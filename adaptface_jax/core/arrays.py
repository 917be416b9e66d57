"""Arrays from untrusted `.npz` archives: a small file may claim terabytes."""

from __future__ import annotations

import zipfile
import zlib
from typing import IO

import numpy as np

# The pairs of IJB-C, 15.6 million, take 0.4 GB.
MOST = 4 << 30


def read_arrays(file: IO[bytes]) -> dict[str, np.ndarray]:
    """Name -> array, of every array of an archive.

    Raises ValueError for anything but a valid archive of plain arrays of at most 4 GiB in total; the claimed sizes are
    added up before anything is unpacked.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            claimed = sum(member.file_size for member in archive.infolist())
        if claimed > MOST:
            raise ValueError(f"it claims {claimed:,} bytes; at most {MOST:,} are read")
        file.seek(0)
        with np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except MemoryError:
        raise ValueError("an array claims more memory than there is") from None
    except (OSError, TypeError, KeyError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"not an archive of arrays: {error}") from None
