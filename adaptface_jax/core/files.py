"""Files and folders that are never half-written, and a folder that one process has to itself."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import glob
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from adaptface_jax.core.errors import InputError, RunError
from adaptface_jax.core.text import shown

_PART = ".part"
_SCRATCH = re.compile(r"(\d+)\.(?:\w+\.)?(part|new|old)")  # after the name: the process, what it was for


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes `text` (UTF-8) so that `path` holds either its old content or all of the new one.

    Bytes of a name that are no UTF-8 are escaped.
    """
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Writes `data` so that `path` holds either its old content or all of the new one."""
    with whole_file(path) as file:
        file.write(data)


@contextlib.contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """A scratch file that becomes `path` when the block ends, or disappears where the block raises.

    A link keeps its place and its target is written; a file keeps its mode; a device or a pipe is written to as it is.
    """
    path = Path(os.path.realpath(path))
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        mode = None
    if mode is not None and not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        with open(path, "wb") as device:
            yield device
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, scratch = tempfile.mkstemp(dir=path.parent, prefix=f".{_short(path.name)}.{os.getpid()}.", suffix=_PART)
    try:
        with open(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes files private; a new one is as readable as any other file of its folder.
        os.chmod(scratch, 0o666 & ~_umask() if mode is None else stat.S_IMODE(mode))
        os.replace(scratch, path)
    except BaseException:
        os.unlink(scratch)
        raise


def clear_remains(path: Path) -> None:
    """Remove the scratch files and folders that a killed process left beside `path`."""
    for remains in path.parent.glob(f".{glob.escape(_short(path.name))}.*"):
        found = _SCRATCH.fullmatch(remains.name.removeprefix(f".{_short(path.name)}."))
        if found is None or _lives(int(found[1])):
            continue
        if remains.is_dir():
            if found[2] == "old" and not path.exists():
                remains.rename(path)  # killed between two renames
                continue
            shutil.rmtree(remains, ignore_errors=True)
        else:
            remains.unlink(missing_ok=True)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # somebody else's
        pass
    return True


@contextlib.contextmanager
def locked(folder: Path, busy: str) -> Iterator[None]:
    """Makes `folder` and keeps other processes out of it while the block lasts; gone with the process, however it ends.

    Raises InputError where the folder cannot be made, and with the message `busy` where another process is in it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        if disk_is_full(error):
            raise
        raise InputError(f"{shown(str(folder))}: cannot be made ({error.strerror}); choose another folder") from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(busy) from None
        yield
    finally:
        os.close(handle)


def disk_is_full(error: BaseException) -> bool:
    """Whether a write failed for want of room, or of quota; also where a library has made text of the error."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    text = str(error)
    return any(sign in text for sign in ("No space left on device", "Disk quota exceeded", "OS error 28"))


@contextlib.contextmanager
def disk_may_fill(folder: Path) -> Iterator[None]:
    """Raises RunError where the block fails because the disk is full."""
    try:
        yield
    except OSError as error:
        if not disk_is_full(error):
            raise
        raise RunError(f"{folder}: the disk is full; what was saved is intact, make room and run again") from None


def refuse_file(folder: Path) -> None:
    """Raises InputError where a folder is to be and something else is."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{shown(str(folder))}: is a file; expected a folder")


def check_folder(out: Path, *, overwrite: bool, marker: str, what: str) -> None:
    """Raises InputError unless `whole_folder` may write to `out`.

    With `overwrite` a folder that holds the file `marker`, hence `what`, gives way; nothing else ever does.
    """
    refuse_file(out)
    if out.exists() and any(out.iterdir()):
        if not overwrite:
            raise InputError(f"{out}: is not empty; choose another --out, or replace it with --overwrite")
        if not (out / marker).is_file():
            raise InputError(f"{out}: holds something other than {what}; choose another --out")


@contextlib.contextmanager
def whole_folder(out: Path, *, overwrite: bool, marker: str, what: str) -> Iterator[Path]:
    """A scratch folder that becomes `out` when the block ends, or disappears where the block raises.

    Raises InputError as `check_folder` does.
    """
    check_folder(out, overwrite=overwrite, marker=marker, what=what)
    out.parent.mkdir(parents=True, exist_ok=True)
    clear_remains(out)
    beside = f".{_short(out.name)}.{os.getpid()}"
    scratch, old = out.parent / f"{beside}.new", out.parent / f"{beside}.old"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    try:
        yield scratch
        mode = 0o666 & ~_umask()
        for file in scratch.rglob("*"):
            if file.is_file():
                file.chmod(mode)  # safetensors makes its files private
        if out.exists() and not _exchanged(scratch, out):
            out.rename(old)
        if not out.exists():
            scratch.rename(out)
    finally:
        if old.exists() and not out.exists():
            old.rename(out)  # the new one could not take its place
        shutil.rmtree(scratch, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _exchanged(one: Path, other: Path) -> bool:
    """Let two paths change places in one step, so that neither is ever missing; whether the system could."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return bool(renameat2(here, os.fsencode(one), here, os.fsencode(other), exchange) == 0)


def _short(name: str) -> str:
    """So much of a name that what is put around it still fits into the 255 bytes of a file system."""
    return os.fsdecode(os.fsencode(name)[:180])


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
