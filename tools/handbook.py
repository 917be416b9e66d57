"""What the handbook takes from the code when it is built: a hook of MkDocs, which mkdocs.yml names.

A line `<!-- generated: settings -->` in a page of docs/ becomes the tables of every setting, from the schema;
`commands` what each command's `--help` says; `recipes` the list of recipes, from the first lines of configs/; `steps`
the measured training steps, from benchmarks/results/.
"""

from __future__ import annotations

import argparse
import ast
import dataclasses
import functools
import importlib
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from adaptface_jax.__main__ import commands  # noqa: E402
from adaptface_jax.cli.parser import Parser  # noqa: E402
from adaptface_jax.config import recipes  # noqa: E402
from adaptface_jax.config.classification import ClassificationConfig  # noqa: E402
from adaptface_jax.config.schema import Config, sections  # noqa: E402
from tools.step_table import step_table  # noqa: E402

GENERATED = re.compile(r"^<!-- generated: (\w+) -->$", re.MULTILINE)
ELSEWHERE = re.compile(r"<(?:script|link|img|iframe|source)\b[^>]*\b(?:src|href)=[\"']?(?:https?:)?//[^>]*>")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """MkDocs calls this for the text of every page."""
    return filled(markdown)


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """MkDocs calls this for every finished page: one that would load anything from elsewhere ends the build."""
    if found := ELSEWHERE.search(output):
        raise SystemExit(f"error: {page.file.src_uri} loads from elsewhere: {found[0]}")
    return output


def on_post_build(config: Any, **_: Any) -> None:
    """MkDocs calls this in the end: a page that is opened from a disk wants the index of words as a script."""
    index = Path(config.site_dir) / "search" / "search_index.json"
    index.with_suffix(".js").write_text(f"var __index = {index.read_text(encoding='utf-8')}", encoding="utf-8")


def filled(markdown: str) -> str:
    """The text with its generated parts; raises KeyError where a part is none of PARTS."""
    return GENERATED.sub(lambda found: PARTS[found[1]](), markdown)


def settings() -> str:
    """A heading and a table for each section of the settings."""
    return "\n\n".join(
        [*_tables(Config, "", ""), *_tables(ClassificationConfig, "Classification: ", "classification-")]
    )


def _tables(schema: type, title: str, anchor: str) -> list[str]:
    parts = {"seed": [("seed", schema.__dataclass_fields__["seed"])]}
    for section, kind in sections(schema).items():
        parts[section] = [(f"{section}.{field.name}", field) for field in dataclasses.fields(kind)]
    result = []
    for section, fields in parts.items():
        rows = [f"## {title}{section} {{ #{anchor}{section} }}", "", "| setting | default | values | meaning |"]
        rows += ["| --- | --- | --- | --- |", *(_row(name, field) for name, field in fields)]
        result.append("\n".join(rows))
    return result


def _row(name: str, field: dataclasses.Field) -> str:
    default = field.default_factory() if callable(field.default_factory) else field.default
    cells = f"`{name}`", f"`{written(default)}`", allowed(field), field.metadata["doc"]
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"


def written(value: object) -> str:
    """A value as the command line takes it."""
    if isinstance(value, tuple):
        return ",".join(map(str, value)) or "none"
    if isinstance(value, dict):
        return ",".join(f"{key}={each}" for key, each in value.items()) or "none"
    return {None: "none", "": '""'}.get(value, str(value))  # type: ignore[call-overload]


def allowed(field: dataclasses.Field) -> str:
    """Which values a setting may have: its choices, or its type with its bounds."""
    choices, low, high = (field.metadata[name] for name in ("choices", "low", "high"))
    if choices:
        return ", ".join(f"`{choice}`" for choice in choices)
    bounds = [f"{word} {bound:,}" for word, bound in (("from", low), ("to", high)) if bound is not None]
    return " ".join([str(field.type).replace(" | None", " or none").replace(", ...", ""), *bounds])


def command_help() -> str:
    """A heading for each command, and below it what its `--help` prints."""
    return "\n\n".join(f"## {name}\n\n```text\n{parser_of(name).format_help().rstrip()}\n```" for name in commands())


def parser_of(name: str) -> Parser:
    """The parser of a command, which its help calls by the name that is typed."""
    result: Parser = importlib.import_module(f"adaptface_jax.{name}.__main__").parser()
    result.prog = f"adaptface {name}"
    result.formatter_class = functools.partial(argparse.RawDescriptionHelpFormatter, width=100)
    return result


def recipe_list() -> str:
    """A table of the recipes, each with the first line of its file."""
    rows = ["| `--config=` | recipe |", "| --- | --- |"]
    for name in recipes.names():
        tree = ast.parse((recipes.folder() / f"{name}.py").read_text(encoding="utf-8"))
        rows.append(f"| `{name}` | {(ast.get_docstring(tree) or '').partition(chr(10))[0]} |")
    return "\n".join(rows)


PARTS: dict[str, Callable[[], str]] = {
    "settings": settings,
    "commands": command_help,
    "recipes": recipe_list,
    "steps": step_table,
}
