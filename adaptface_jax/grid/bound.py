"""A program that does not outlive its parent, run by its path: bound.py PARENT_ID ARGUMENTS OF PYTHON.

Linux sends it SIGTERM when its parent is gone, even if killed: a training then saves, and the next grid finds the
folder free. Elsewhere it keeps running, and the next grid waits for it.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1

if __name__ == "__main__":
    parent, words = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it is already gone
            sys.exit(1)
    os.execv(sys.executable, [sys.executable, *words])
