"""All commands under one name: `adaptface train ...` is `python -m adaptface_jax.train ...`.

The list of commands is read from the package without importing anything, so that it appears at once.
"""

from __future__ import annotations

import ast
import difflib
import runpy
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import adaptface_jax

PACKAGE = Path(__file__).parent


def main() -> int:
    """Run the command named by the first word, or list the commands; returns the exit status."""
    word = sys.argv[1] if len(sys.argv) > 1 else "--help"
    known = commands()
    if word in known:
        del sys.argv[1]
        if sys.stderr.isatty():
            threading.Thread(target=say_loading, args=(word,), daemon=True).start()
        runpy.run_module(f"{adaptface_jax.__name__}.{word}", run_name="__main__", alter_sys=True)
    elif word in ("-h", "--help"):
        print(overview(known))
    elif word == "--version":
        print(f"adaptface_jax {adaptface_jax.__version__}")
    else:
        near = difflib.get_close_matches(word, known, n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else f"the commands are {', '.join(known)}"
        print(f"error: {word!r} is not a command; {hint} (see adaptface --help)", file=sys.stderr)
        return 2
    return 0


def say_loading(word: str, wait: Callable[[float], None] = time.sleep) -> None:
    """Report every few seconds that a command's libraries are being loaded, until they are."""
    wait(2.0)
    # Its function exists once everything the file imports is loaded.
    while not hasattr(sys.modules.get(f"{adaptface_jax.__name__}.{word}.work"), "work"):
        print(f"adaptface {word}: loading jax and the rest ...", file=sys.stderr, flush=True)
        wait(2.5)


def commands() -> dict[str, str]:
    """Name -> the first line of its docstring, for everything that runs as a program: a package with a `__main__`."""
    result = {}
    for file in PACKAGE.glob("*/__main__.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        result[file.parent.name] = (ast.get_docstring(tree) or "").partition("\n")[0]
    return dict(sorted(result.items()))


def overview(known: dict[str, str]) -> str:
    """What `adaptface --help` prints."""
    width = max(map(len, known))
    return "\n".join(
        [
            "usage: adaptface COMMAND ...",
            "",
            (adaptface_jax.__doc__ or "").partition("\n")[0],
            "",
            *(f"  {name:{width}}  {line}" for name, line in known.items()),
            "",
            "adaptface COMMAND --help describes each; adaptface --version prints the version.",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
