"""One way to run a command: exit statuses and one-line errors.

Exit status: 0 done (also --help), 2 bad configuration or input (one line, no traceback), 75 stopped by a signal with
what was trained saved, 1 anything else (one line where the reason is known, such as a full disk).
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
import warnings
from collections.abc import Callable
from typing import NoReturn

from adaptface_jax.cli.parser import Parser
from adaptface_jax.core.errors import InputError, RunError, Stopped

STOPPED = 75  # EX_TEMPFAIL: run the same command again to go on


def run_command(
    main: Callable[[argparse.Namespace], None], parser: Parser, part: Callable[[], bool] = lambda: False
) -> NoReturn:
    """Parse the command line, call `main`, leave with the status that says how it went.

    part: called before an early end; whether there were other processes to part from (`processes.part`).
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    warnings.filterwarnings("ignore", module=r"PIL\.")  # of notes in images; the images are judged by decode()
    try:
        main(parser.parse(sys.argv[1:]))
        sys.stdout.flush()
    except InputError as error:
        leave(2, f"error: {' '.join(str(error).split())}", part)
    except RunError as error:
        leave(1, f"error: {' '.join(str(error).split())}", part)
    except BrokenPipeError:  # the reader has seen enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Stopped as stop:
        leave(STOPPED, str(stop), part, at_once=True)
    except Exception:
        if not part():
            raise
        traceback.print_exc()
        os._exit(1)
    sys.exit(0)


def leave(status: int, line: str, part: Callable[[], bool], at_once: bool = False) -> NoReturn:
    """End the program with its last line; `at_once`, as of several processes, without waiting for threads."""
    print(line, file=sys.stderr, flush=True)
    if part() or at_once:
        sys.stdout.flush()
        os._exit(status)
    sys.exit(status)
