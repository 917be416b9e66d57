"""Files and folders that are never half-written, and exclusive access to a folder."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import functools
import hashlib
import os
import re
import shutil
import socket
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from adaptface_jax.core.errors import InputError, RunError
from adaptface_jax.core.text import shown

_PART = ".part"
# Final name, machine, process, purpose.
_SCRATCH = re.compile(r"\.(.+)\.([0-9a-f]{8})-(\d+)\.(?:\w+\.)?(part|new|old)", re.DOTALL)
_DAY = 86_400.0  # seconds for which another machine's scratch is left alone: its processes cannot be seen


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes `text` (UTF-8) so that `path` holds either its old content or all of the new one.

    Bytes of a name that are not UTF-8 are escaped.
    """
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Writes `data` so that `path` holds either its old content or all of the new one."""
    with whole_file(path) as file:
        file.write(data)


@contextlib.contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """A scratch file that becomes `path` when the block ends, or disappears if the block raises.

    A link stays and its target is written; a file keeps its mode; a device or pipe is written to directly.
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
    handle, scratch = tempfile.mkstemp(dir=path.parent, prefix=f"{_beside(path)}.", suffix=_PART)
    try:
        with open(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes files private; a new one should be as readable as any other file.
        os.chmod(scratch, 0o666 & ~_umask() if mode is None else stat.S_IMODE(mode))
        os.replace(scratch, path)
    except BaseException as error:
        Path(scratch).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in (errno.EFBIG, errno.ENOSPC, errno.EDQUOT):
            error.filename = error.filename or str(path)  # the system does not name the file
        raise


def clear_remains(path: Path) -> None:
    """Remove the scratch files and folders that a killed process left next to `path`."""
    for remains, name, use in _remains(path.parent):
        if name != _short(path.name):
            continue
        if use == "old" and not path.exists():
            remains.rename(path)  # killed between two renames
        elif remains.is_dir():
            shutil.rmtree(remains, ignore_errors=True)
        else:
            remains.unlink(missing_ok=True)


def clear_remains_in(folder: Path) -> None:
    """Remove the scratch files of every file that a killed process was writing into `folder`."""
    for remains, _, use in _remains(folder):
        if use == "part":
            remains.unlink(missing_ok=True)


def _remains(folder: Path) -> list[tuple[Path, str, str]]:
    """(path, final name, purpose) of the scratch in `folder` whose process is gone."""
    try:
        names = [name for name in os.listdir(folder) if name.startswith(".")]
    except (FileNotFoundError, NotADirectoryError):
        return []
    found = ((folder / name, match) for name in names if (match := _SCRATCH.fullmatch(name)))
    return [(path, match[1], match[4]) for path, match in found if _left(path, match[2], int(match[3]))]


def _left(path: Path, machine: str, process: int) -> bool:
    if machine == _machine():
        return not _lives(process)
    try:
        return time.time() - path.stat().st_mtime > _DAY
    except OSError:
        return False


@functools.cache
def _machine() -> str:
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]


def _beside(path: Path) -> str:
    """The prefix of this process's scratch next to `path`."""
    return f".{_short(path.name)}.{_machine()}-{os.getpid()}"


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
    """Makes `folder` and locks other processes out of it during the block; released with the process, however it ends.

    Raises InputError if the folder cannot be created, and with the message `busy` where another process holds it;
    RunError if the folder disappears during the block.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        if disk_is_full(error):
            raise
        raise InputError(f"{shown(str(folder))}: cannot be created ({error.strerror}); choose another folder") from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(busy) from None
        try:
            yield
        except Exception:
            if not _removed(folder, handle):
                raise
        if _removed(folder, handle):
            raise RunError(
                f"{shown(str(folder))}: was removed or replaced while it was being written to; what was written is "
                "lost, run again"
            )
    finally:
        os.close(handle)


def _removed(folder: Path, handle: int) -> bool:
    """Whether the folder that was opened is gone, though another may have its name."""
    opened = os.fstat(handle)
    try:
        # Some network file systems renumber folders: only one without links is gone.
        return opened.st_nlink == 0 and not os.path.samestat(folder.stat(), opened)
    except FileNotFoundError:
        return True


def disk_is_full(error: BaseException) -> bool:
    """Whether a write failed for lack of space or quota; also where a library turned the error into text."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    text = str(error)
    return any(sign in text for sign in ("No space left on device", "Disk quota exceeded", "OS error 28"))


@contextlib.contextmanager
def disk_may_fill(folder: Path) -> Iterator[None]:
    """Raises RunError if the block fails because the disk is full."""
    try:
        yield
    except OSError as error:
        if not disk_is_full(error):
            raise
        raise RunError(f"{folder}: the disk is full; what was saved is intact, free some space and run again") from None


def refuse_file(folder: Path) -> None:
    """Raises InputError if a folder is expected and something else exists."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{shown(str(folder))}: is a file; expected a folder")


def check_folder(out: Path, *, overwrite: bool, marker: str, what: str) -> None:
    """Raises InputError unless `whole_folder` may write to `out`.

    With `overwrite`, a folder that holds the file `marker`, hence `what`, may be replaced; nothing else ever is.
    """
    refuse_file(out)
    if out.exists() and any(out.iterdir()):
        if not overwrite:
            raise InputError(f"{out}: is not empty; choose another --out, or replace it with --overwrite")
        if not (out / marker).is_file():
            raise InputError(f"{out}: holds something other than {what}; choose another --out")


@contextlib.contextmanager
def whole_folder(out: Path, *, overwrite: bool, marker: str, what: str) -> Iterator[Path]:
    """A scratch folder that becomes `out` when the block ends, or disappears if the block raises.

    Raises InputError as `check_folder` does.
    """
    check_folder(out, overwrite=overwrite, marker=marker, what=what)
    out.parent.mkdir(parents=True, exist_ok=True)
    clear_remains(out)
    scratch, old = (out.parent / f"{_beside(out)}.{use}" for use in ("new", "old"))
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
            old.rename(out)  # the new one could not replace it
        shutil.rmtree(scratch, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def _exchanged(one: Path, other: Path) -> bool:
    """Swap two paths in one step, so that neither is ever missing; whether the system could."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return bool(renameat2(here, os.fsencode(one), here, os.fsencode(other), exchange) == 0)


def _short(name: str) -> str:
    """A name shortened so that prefix and suffix still fit into a file system's 255 bytes."""
    return os.fsdecode(os.fsencode(name)[:180])


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
