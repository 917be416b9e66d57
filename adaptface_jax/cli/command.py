# SPDX-License-Identifier: Apache-2.0
"""One way to run a command: exit statuses and one-line errors.

Exit status: 0 done (also --help), 2 bad configuration or input (one line, no traceback), 75 stopped by a signal with
all progress saved, 130 interrupted, 1 anything else (one line where the reason is known, such as a full disk).
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import io
import os
import re
import resource
import signal
import sys
import traceback
import warnings
from collections.abc import Callable
from typing import NoReturn

from adaptface_jax.cli.compiled import keep_compiled
from adaptface_jax.cli.parser import Parser
from adaptface_jax.core.errors import InputError, RunError, Stopped
from adaptface_jax.core.files import disk_is_full
from adaptface_jax.core.interruptions import never_lose_ctrl_c
from adaptface_jax.core.text import one_line, shortened, shown

STOPPED = 75  # EX_TEMPFAIL: run the same command again to resume
INTERRUPTED = 130  # as shells report Ctrl-C
ADDRESSES = 2 << 30  # bytes that jax and its libraries map at least; with fewer they crash


def run_command(main: Callable[[argparse.Namespace], None], parser: Parser) -> NoReturn:
    """Parse the command line, call `main`, exit with the status that says how it went.

    `main` imports what does the work, so that help and misspelled flags are answered without waiting for jax.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    warnings.filterwarnings("ignore", module=r"PIL\.")  # about metadata; decode() decides on the images
    _open_streams()
    never_lose_ctrl_c()
    try:
        _check_surroundings()
        arguments = parser.parse(sys.argv[1:])
        keep_compiled()
        main(arguments)
        sys.stdout.flush()
    except InputError as error:
        leave(2, f"error: {shown(' '.join(str(error).split()))}")
    except RunError as error:
        leave(1, f"error: {shown(' '.join(str(error).split()))}")
    except BrokenPipeError:  # the reader has seen enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Stopped as stop:
        leave(STOPPED, str(stop), at_once=True)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second one would be a traceback
        leave(INTERRUPTED, "interrupted; nothing is half-written", at_once=True)
    except Exception as error:
        if (known := in_one_line(error)) is not None:
            leave(*known)
        if not _part():
            raise
        traceback.print_exc()
        os._exit(1)
    sys.exit(0)


def _part() -> bool:
    """Leave the processes that train the same run, before an early exit; whether there were any."""
    met = sys.modules.get("adaptface_jax.distributed.processes")  # imported only by such work
    return met is not None and met.part()


def _check_surroundings() -> None:
    """Raises InputError if the environment would break or change the computation."""
    if os.environ.get("JAX_ENABLE_X64", "0").lower() not in ("", "0", "false"):
        raise InputError("JAX_ENABLE_X64: everything here is float32 or bfloat16; unset the variable")
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY and limit < ADDRESSES:
        raise InputError(
            f"ulimit -v: {limit >> 10:,} kB of address space are allowed, and jax needs more than {ADDRESSES >> 10:,}; "
            "raise the limit (ulimit -v unlimited), or limit the resident memory instead"
        )


def in_one_line(error: Exception) -> tuple[int, str] | None:
    """(status, line) for what may go wrong anywhere: disk, memory, machine; None for a bug of ours."""
    text = str(error)
    if disk_is_full(error):
        return 1, f"error: {_place(error)}the disk is full; earlier files are intact, free some space and run again"
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:  # nothing that exists has such a name
        return 2, f"error: {_place(error)}{one_line(error)}; expected a shorter path"
    if isinstance(error, FileNotFoundError) and error.filename is None and _no_current_folder():
        return 2, "error: the current folder was removed; change to one that exists"
    if isinstance(error, ValueError) and _raised_in(error, os.path.join("jax", "_src", "config.py")):
        return 2, f"error: a variable of the environment (JAX_...): {one_line(error)}; correct it, or unset it"
    if isinstance(error, OSError) and error.errno in _MACHINE:
        return 1, f"error: {_place(error)}{one_line(error)}"
    if isinstance(error, MemoryError):
        return 1, f"error: this machine has too little memory ({one_line(error)}); {_SMALLER}"
    if "RESOURCE_EXHAUSTED" in text:
        asked = re.search(r"\d[\d.]* ?(?:[KMGT]i?B|bytes)", text)
        return 1, f"error: the device is out of memory ({asked[0] if asked else one_line(error)} asked for); {_SMALLER}"
    if "Unable to initialize backend" in text or "Unknown backend" in text or _of_backends(error):
        chosen = os.environ.get("JAX_PLATFORMS", "")
        reason = one_line(error) if text else "there is no such device"
        return 2, f"error: JAX_PLATFORMS={chosen}: {reason}; unset it, or install jax for that device"
    return None


def _of_backends(error: Exception) -> bool:
    """Whether jax found no device at all, which it reports without a message."""
    return isinstance(error, AssertionError) and _raised_in(error, "xla_bridge.py")


def _raised_in(error: Exception, file: str) -> bool:
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and frames[-1].filename.endswith(file)


def _no_current_folder() -> bool:
    try:
        os.getcwd()
    except FileNotFoundError:
        return True
    return False


_SMALLER = "choose a smaller train.batch_size, eval.batch_size or image size, or set train.grad_accum or train.remat"
_MACHINE = {
    errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO, errno.EFBIG, errno.EMFILE, errno.ENFILE,
    errno.ENOTDIR, errno.EISDIR, errno.ENODEV, errno.ENXIO, errno.ETXTBSY, errno.ENOMEM, errno.ENOENT, errno.ESTALE,
}  # fmt: skip


def _place(error: Exception) -> str:
    name = getattr(error, "filename", None)
    if isinstance(name, str | bytes):
        return f"{shortened(shown(os.fsdecode(name)), 200)}: "
    frames = traceback.extract_tb(error.__traceback__)
    locks = bool(frames) and "multiprocessing" in frames[-1].filename  # its semaphores are files there
    return "/dev/shm, through which processes share memory: " if locks else ""


def _open_streams() -> None:
    """Make standard output and error accept any text: closed ones discard it, others escape what they cannot encode."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def leave(status: int, line: str, at_once: bool = False) -> NoReturn:
    """End the program with its last line; `at_once`, as among several processes, without waiting for threads."""
    print(line, file=sys.stderr, flush=True)
    if _part() or at_once:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        os._exit(status)
    sys.exit(status)
