"""One way to run a command: flags, settings, exit statuses and one-line errors.

Exit status: 0 done (also --help), 2 bad configuration or input (one line, no traceback), 75 stopped by a signal with
what was trained saved, 1 anything else (one line where the reason is known, such as a full disk).
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from typing import NoReturn

from ml_collections import ConfigDict

from adaptface_jax.config import overrides
from adaptface_jax.config.schema import SECTIONS, Config
from adaptface_jax.core.errors import InputError, RunError, Stopped

STOPPED = 75  # EX_TEMPFAIL: run the same command again to go on


class Parser(argparse.ArgumentParser):
    """argparse whose errors are one line; with `settings`, `--config.a.b=value` overrides a config file.

    config_required: whether a command with settings also works without `--config` (`.config` is then None).
    """

    def __init__(self, description: str, *, settings: bool = False, config_required: bool = True) -> None:
        super().__init__(
            description=description,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            epilog=settings_table() if settings else None,
        )
        self._settings = settings
        if settings:
            self.add_argument(
                "--config", required=config_required, metavar="FILE", help="a Python file with get_config()"
            )

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message} (see --help)")

    def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        """The parsed flags; `.config` is the frozen Config where settings are taken."""
        plain, changes = split_settings(arguments) if self._settings else (list(arguments), [])
        known, rest = self.parse_known_args(plain)
        if rest:
            flags = [flag for action in self._actions for flag in action.option_strings if flag.startswith("--")]
            near = difflib.get_close_matches(rest[0].partition("=")[0], flags, n=1)
            hint = f"; did you mean {near[0]}?" if near else " (see --help)"
            raise InputError(f"{rest[0]}: no such argument{hint}")
        if self._settings and known.config is None and changes:
            raise InputError(f"--config.{changes[0][0]}: changes a setting of --config=FILE, which is not given")
        if self._settings and known.config is not None:
            config = overrides.load(known.config)
            for name, text in changes:
                overrides.apply(config, name, text)
            known.config = self.finish(config, known)
        return known

    def finish(self, config: ConfigDict, known: argparse.Namespace) -> Config:
        """The last changes that flags make to the settings, and their freezing."""
        if getattr(known, "benchmark", None):
            config.data.benchmarks = {}
            for name, path in named_paths(known.benchmark).items():
                overrides.apply(config, f"data.benchmarks.{name}", path)
        return overrides.freeze(config)


def split_settings(arguments: Sequence[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """Separate `--config.name=value` (or `--config.name value`) from the other words."""
    plain: list[str] = []
    changes: list[tuple[str, str]] = []
    words = iter(arguments)
    for word in words:
        if not word.startswith("--config."):
            plain.append(word)
            continue
        name, equals, value = word.removeprefix("--config.").partition("=")
        if not equals:
            following = next(words, None)
            if following is None or following.startswith("--"):
                raise InputError(f"--config.{name}: no value; write --config.{name}=VALUE")
            value = following
        changes.append((name, value))
    return plain, changes


def named_paths(texts: Sequence[str]) -> dict[str, str]:
    """["lfw=/data/lfw.bin"] -> {"lfw": "/data/lfw.bin"}."""
    result: dict[str, str] = {}
    for text in texts:
        name, equals, path = text.partition("=")
        if not (equals and name and path) or not name.replace("_", "").replace("-", "").isalnum():
            raise InputError(f"--benchmark: {text!r} is not NAME=PATH, e.g. lfw=/data/lfw.bin")
        if name in result:
            raise InputError(f"--benchmark: {name} is given twice; choose another name for one of them")
        result[name] = path
    return result


def settings_table() -> str:
    """Every setting with its default and meaning, for --help."""
    lines = ["settings (override with --config.NAME=VALUE):"]
    rows = [("seed", Config.__dataclass_fields__["seed"])]
    for section, kind in SECTIONS.items():
        rows += [(f"{section}.{field.name}", field) for field in dataclasses.fields(kind)]
    for name, field in rows:
        default = field.default_factory() if callable(field.default_factory) else field.default
        choices = f" ({' | '.join(field.metadata['choices'])})" if field.metadata["choices"] else ""
        lines.append(f"  {name:32} {field.metadata['doc']}{choices} [{default!r}]")
    return "\n".join(lines)


def run(
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
