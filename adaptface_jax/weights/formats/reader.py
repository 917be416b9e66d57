# SPDX-License-Identifier: Apache-2.0
"""Weight files of every supported kind, recognized by their content, not by their names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.json_io import read_json
from adaptface_jax.core.text import quoted
from adaptface_jax.weights.formats import kinds as file_kinds
from adaptface_jax.weights.formats import safetensors_files
from adaptface_jax.weights.formats.shards import open_shards
from adaptface_jax.weights.formats.tensors import Tensors
from adaptface_jax.weights.formats.torch_archive import open_archive

__all__ = ["INDEX", "SINGLE", "open_weights", "read_json"]

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
TORCH_INDEX = "pytorch_model.bin.index.json"

# The files for which a folder is searched, in order: the same weights are often there twice; safetensors come first.
_USUAL = (
    *(SINGLE, INDEX, "open_clip_model.safetensors", "pytorch_model.bin", TORCH_INDEX, "open_clip_pytorch_model.bin"),
)
_SUFFIXES = (".safetensors", ".pth", ".pt", ".pth.tar")
_OTHERS = (".ckpt", ".bin", ".npz", ".gguf", ".onnx", ".h5", ".msgpack")  # refused by their kind, but for torch's
MAX_FOLDERS = 1000  # that are searched in vain
_SHARD = re.compile(r".*-\d{5}-of-\d{5}\.\w+")


def open_weights(path: Path) -> Tensors:
    """The tensors of a file (safetensors, torch.save since 1.6, TorchScript), of an index's shards or of a folder.

    A folder is searched for model.safetensors, its index, open_clip_model.safetensors, pytorch_model.bin, its index,
    open_clip_pytorch_model.bin, and finally for a single other index, a single .safetensors, .pth or .pt file, or a
    .ckpt or .bin file. Nothing in a file is executed.
    Raises InputError for any other kind of file, and for files that are truncated or inconsistent.
    """
    try:
        if path.is_dir():
            path = _file_of(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    shards = path.name.endswith(".index.json") and path.is_file()
    return open_shards(path, open_file) if shards else open_file(path)


def open_file(path: Path) -> Tensors:
    """The tensors of one file; raises InputError as `open_weights` does."""
    try:
        if not path.is_file():
            raise InputError(f"{path}: {'is not a regular file' if path.exists() else 'no such file or folder'}")
        with open(path, "rb") as stream:
            head = stream.read(512)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    if file_kinds.is_zip(head):
        return open_archive(path)
    if (kind := file_kinds.unreadable(head)) is not None:
        raise InputError(f"{path}: {kind}")
    if not file_kinds.is_safetensors(head):
        raise InputError(
            f"{path}: is neither a safetensors file nor a torch archive (it begins with {quoted(head[:8])}); "
            "download it again, or give another file"
        )
    return safetensors_files.open_file(path)


def _file_of(folder: Path) -> Path:
    for name in _USUAL:
        if (folder / name).is_file():
            return folder / name
    names = sorted(entry.name for entry in folder.iterdir())
    if (kind := file_kinds.unreadable_folder(names)) is not None:
        raise InputError(f"{folder}: {kind}")
    if len(indexes := _files(folder, names, (".index.json",))) == 1:
        return folder / indexes[0]
    found = _files(folder, names, _SUFFIXES)
    inside = [] if found else [name for name in names[:MAX_FOLDERS] if _holds_weights(folder / name)]
    if inside:
        raise InputError(f"{folder}: its weights are in folders within it; name the one to read: {_listed(inside)}")
    found = found or _files(folder, names, _OTHERS)
    if found and all(_SHARD.fullmatch(name) for name in found):
        raise InputError(
            f"{folder}: holds shards ({_listed(found)}) without their index; download the .index.json file too"
        )
    if len(found) == 1:
        return folder / found[0]
    if found:
        raise InputError(f"{folder}: holds {len(found)} weight files ({_listed(found)}); name the one to read")
    raise InputError(
        f"{folder}: holds no weights ({_listed(names) or 'it is empty'}); expected {SINGLE}, {INDEX}, "
        "pytorch_model.bin, or one .safetensors, .pth or .pt file"
    )


def _files(folder: Path, names: Iterable[str], suffixes: tuple[str, ...]) -> list[str]:
    return [name for name in names if name.endswith(suffixes) and (folder / name).is_file()]


def _holds_weights(folder: Path) -> bool:
    try:
        names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    except OSError:
        return False
    return file_kinds.unreadable_folder(names) is not None or bool(_files(folder, names, _SUFFIXES + _OTHERS))


def _listed(names: Sequence[str]) -> str:
    return ", ".join(quoted(name) for name in names[:3]) + (", ..." if len(names) > 3 else "")
