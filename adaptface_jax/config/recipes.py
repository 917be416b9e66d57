"""Config files: the recipes that come with the package, by name, and a user's own, by path.

A config file is Python with `get_config()`, which returns a ConfigDict:

    from adaptface_jax.config import inherit

    def get_config():
        config = inherit("dalora")
        config.adapter.num_domains = 4
        return config

It is executed, so use no config file from an untrusted source.
"""

from __future__ import annotations

import difflib
import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import one_line

if TYPE_CHECKING:  # listing names, as --help does, does not need it
    from ml_collections import ConfigDict

PACKAGE = Path(__file__).resolve().parents[1]

# The config files being read, each inherited by the one before.
_reading: list[Path] = []


def folder() -> Path:
    """Where the recipes are: inside an installed package, next to the package in a checkout."""
    packaged = PACKAGE / "recipes"
    return packaged if packaged.is_dir() else PACKAGE.parent / "configs"


def names() -> list[str]:
    """The recipes' names, sorted: what `load` and `inherit` accept besides paths."""
    return sorted(file.stem for file in folder().glob("*.py"))


def load(source: str | Path) -> ConfigDict:
    """The settings of a recipe ("dalora") or of a config file ("mine.py"), as `--config` takes them.

    Anything with a slash or an extension is a path. Raises InputError, one line that begins with `--config`.
    """
    try:
        return _read(_find(source))
    except InputError as error:
        raise InputError(f"--config: {error}") from None


def inherit(source: str, neighbor: str | None = None) -> ConfigDict:
    """The settings of another recipe or config file, for a config file to change.

        inherit("small_faces")          a recipe that comes with the package
        inherit(__file__, "base.py")    the config file at this path from the folder of the one that calls

    Raises InputError if the recipe or file does not exist or is broken.
    """
    return _read(_find(source) if neighbor is None else _existing(Path(source).parent / neighbor))


def _find(source: str | Path) -> Path:
    path = Path(source).expanduser()
    if isinstance(source, Path) or "/" in source or os.sep in source or path.suffix:
        return _existing(path)
    known = names()
    if source in known:
        return folder() / f"{source}.py"
    near = difflib.get_close_matches(source, known, n=3, cutoff=0.5)
    hint = f"did you mean {', '.join(near)}?" if near else f"the recipes are {', '.join(known)}."
    raise InputError(f"no recipe is called {source!r}; {hint} Name your own file with its extension: {source}.py")


def _existing(path: Path) -> Path:
    if path.is_file():
        return path
    if path.stem in names():
        raise InputError(f"no file at {path}; the packaged recipe is called {path.stem}")
    raise InputError(f"no file at {path}; packaged recipes: {', '.join(names())}")


def _read(path: Path) -> ConfigDict:
    """What `get_config()` of the file returns; InputErrors begin with the path."""
    place = path.resolve()
    if place in _reading:
        raise InputError(f"{path} inherits from itself, through {' -> '.join(file.name for file in _reading)}")
    spec = importlib.util.spec_from_file_location(f"_config_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path} is not a Python file; expected one with get_config()")
    module = importlib.util.module_from_spec(spec)
    _reading.append(place)
    try:
        spec.loader.exec_module(module)
        result = module.get_config()
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except ImportError as error:
        raise InputError(f"{path}: {_explained(error)}") from error
    except Exception as error:  # an error in the user's own file
        raise InputError(f"{path}: {type(error).__name__}: {one_line(error)}") from error
    finally:
        _reading.pop()
    from ml_collections import ConfigDict

    if not isinstance(result, ConfigDict):
        raise InputError(f"get_config() of {path} returned {type(result).__name__}, not a ConfigDict")
    return result


def _explained(error: ImportError) -> str:
    """What could not be imported; config files of older versions import from modules that no longer exist."""
    text = f"{type(error).__name__}: {one_line(error)}"
    ours = (error.name or "").startswith("adaptface_jax")
    return text + ("; write: from adaptface_jax.config import defaults, inherit" if ours else "")
