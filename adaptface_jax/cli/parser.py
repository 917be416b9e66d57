# SPDX-License-Identifier: Apache-2.0
"""The words of a command line: flags, and settings as `--config.a.b=value`."""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import os
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NoReturn

from adaptface_jax.cli.outputs import output_file
from adaptface_jax.config import recipes
from adaptface_jax.config.schema import is_name, sections
from adaptface_jax.core.errors import InputError
from adaptface_jax.core.flag_values import finite, integer
from adaptface_jax.core.text import shown

if TYPE_CHECKING:
    from adaptface_jax.config.overrides import AnyConfig


class Parser(argparse.ArgumentParser):
    """argparse whose errors are one line; with `settings`, `--config.a.b=value` overrides a recipe.

    settings: the kinds of settings that the command takes; empty for none.
    config_required: whether a command with settings also works without `--config` (`.config` is then None).
    """

    def __init__(
        self, description: str, *, settings: Sequence[type[AnyConfig]] = (), config_required: bool = True
    ) -> None:
        super().__init__(
            prog=program(),
            description=description,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            epilog="\n\n".join(settings_table(kind) for kind in settings) or None,
        )
        self.register("type", int, integer)
        self.register("type", float, finite)
        self.settings = tuple(settings)
        if settings:
            self.add_argument("--help-all", action=_HelpAll, nargs=0, help="show this with every setting and exit")
            known = f"a recipe ({', '.join(recipes.names())}) or a Python file with get_config()"
            self.add_argument("--config", required=config_required, metavar="RECIPE|FILE", help=known)

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message} (see --help)")

    def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        """The parsed flags; with settings, `.config` holds the frozen ones of `.recipe` with `.changes`."""
        plain, changes = split_settings(arguments) if self.settings else (list(arguments), [])
        known, rest = self.parse_known_args(plain)
        if rest:
            flags = [flag for action in self._actions for flag in action.option_strings if flag.startswith("--")]
            near = difflib.get_close_matches(rest[0].partition("=")[0], flags, n=1)
            hint = f"; did you mean {near[0]}?" if near else " (see --help)"
            raise InputError(f"{rest[0]}: no such argument{hint}")
        self._refuse_empty(known)
        self._refuse_replacing(known)
        if self.settings and known.config is None and changes:
            raise InputError(f"--config.{changes[0][0]}: changes a setting of --config=FILE, which is not given")
        if self.settings and known.config is not None:
            from adaptface_jax.cli.settings import read_settings  # with libraries that --help does not need

            known.recipe, known.changes = known.config, changes
            known.config = read_settings(known, self.settings)
        return known

    def _refuse_empty(self, given: argparse.Namespace) -> None:
        """Raises InputError for an empty word, as an unset variable of the shell is: as a path it is where one is."""
        for action, name, texts in _words(self._actions, given):
            if "" in texts and getattr(given, action.dest) != action.default:
                raise InputError(f"{name}: is empty (an unset variable?); expected a value (see --help)")

    def _refuse_replacing(self, given: argparse.Namespace) -> None:
        """Raises InputError for a file to write that another argument names too: one of them would be lost."""
        taken: dict[str, str] = {}
        words = _words(self._actions, given)
        for action, name, texts in sorted(words, key=lambda word: word[0].type is output_file):
            for path, text in ((os.path.realpath(text), text) for text in texts):
                written = action.type is output_file
                if written and path in taken:
                    raise InputError(f"{name}: {shown(text)} is also {taken[path]}; choose another file")
                if os.path.isfile(path) or (written and not os.path.exists(path)):  # else a device, or no file at all
                    taken[path] = name


def _words(
    actions: Iterable[argparse.Action], given: argparse.Namespace
) -> list[tuple[argparse.Action, str, list[str]]]:
    """(action, its name, the texts given for it) of a command line."""
    result = []
    for action in actions:
        value = getattr(given, action.dest, None)
        name = action.option_strings[-1] if action.option_strings else action.metavar or action.dest
        texts = [text for text in (value if isinstance(value, list) else [value]) if isinstance(text, str)]
        result.append((action, str(name), texts))
    return result


class _HelpAll(argparse.Action):
    """As `--help`, with every setting."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object, **__: object) -> NoReturn:
        assert isinstance(parser, Parser)
        parser.epilog = "\n\n".join(settings_table(kind, every=True) for kind in parser.settings)
        parser.print_help()
        parser.exit()


def program() -> str | None:
    """The running command as it is typed, `adaptface train`; None if Python was not started on a command."""
    spec = sys.modules["__main__"].__spec__
    parts = spec.name.split(".") if spec else []
    return f"adaptface {parts[1]}" if parts[:1] == ["adaptface_jax"] and len(parts) > 1 else None


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
        if not (equals and path and is_name(name)):
            raise InputError(f"--benchmark: {text!r} is not NAME=PATH, e.g. lfw=/data/lfw.bin")
        if name in result:
            raise InputError(f"--benchmark: {name} is given twice; choose another name for one of them")
        result[name] = path
    return result


def settings_table(schema: type[AnyConfig], every: bool = False) -> str:
    """The settings that matter first, or every one, with default and meaning, for --help."""
    rows = [("seed", schema.__dataclass_fields__["seed"])]
    for section, kind in sections(schema).items():
        rows += [(f"{section}.{field.name}", field) for field in dataclasses.fields(kind)]
    shown = [(name, field) for name, field in rows if every or field.metadata["first"]]
    more = f"; --help-all shows {len(rows) - len(shown)} more" if len(shown) < len(rows) else ""
    lines = [f"settings of {schema().task} (override with --config.NAME=VALUE{more}):"]
    for name, field in shown:
        default = field.default_factory() if callable(field.default_factory) else field.default
        choices = f" ({' | '.join(field.metadata['choices'])})" if field.metadata["choices"] else ""
        lines.append(f"  {name:32} {field.metadata['doc']}{choices} [{default!r}]")
    return "\n".join(lines)
