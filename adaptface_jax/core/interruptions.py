# SPDX-License-Identifier: Apache-2.0
"""Interruptions that Python would drop."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

SOON = 0.02  # seconds, after which whatever dropped the exception is over
Hook = Callable[[Any], Any]


def raised_again(kind: type[BaseException], number: Callable[[], int], otherwise: Hook) -> Hook:
    """A `sys.unraisablehook` by which no interruption is lost; `otherwise` gets everything else.

    The handler of a signal raises wherever the program is: also in a callback of the garbage collector (jax has one) or
    in a finalizer, whose exceptions Python reports and drops. If one of `kind` is, the signal `number` comes again.
    """

    def hook(unraisable: Any) -> None:
        if not isinstance(unraisable.exc_value, kind):
            otherwise(unraisable)
            return
        # To the main thread, which may be waiting for something by then.
        timer = threading.Timer(SOON, signal.pthread_kill, [threading.main_thread().ident, number()])
        timer.daemon = True
        timer.start()

    return hook


def never_lose_ctrl_c() -> None:
    """From here on every KeyboardInterrupt ends the program."""
    sys.unraisablehook = raised_again(KeyboardInterrupt, lambda: signal.SIGINT, sys.unraisablehook)
