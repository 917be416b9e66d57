# SPDX-License-Identifier: Apache-2.0
"""Archives from torch.save (since torch 1.6) and torch.jit.save, read without torch and without executing anything.

Layout: an uncompressed zip file of NAME/data.pkl (the structure), NAME/data/KEY (one storage each, raw elements) and
NAME/byteorder; TorchScript adds NAME/code/ and NAME/constants.pkl, which are not opened.
Source: torch/serialization.py and caffe2/serialize/inline_container.h.
"""

from __future__ import annotations

from pathlib import Path

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.restricted_pickle import RefusedPickle
from adaptface_jax.core.text import quoted
from adaptface_jax.weights.formats.tensors import Entry, Tensors, is_compact
from adaptface_jax.weights.formats.torch_pickle import View, read_views
from adaptface_jax.weights.formats.zip_directory import BrokenZip, Member, members

# Below 0.3 MiB for a ViT-g with its optimizer. The objects that a pickle builds can take a hundred times its length.
MAX_PICKLE = 4 << 20

_PICKLE = "/data.pkl"
_ADVICE = "save only the state dict: torch.save(model.state_dict(), FILE)"


def open_archive(path: Path) -> Tensors:
    """The tensors of a state dict, possibly nested, or of the modules of a TorchScript archive, by dotted names.

    Raises InputError, without executing any of the file, if the archive is corrupted, contains anything but tensors, or
    claims tensors that its storages do not hold.
    """
    try:
        found = members(path)
        name = _root(path, found)
        order = _read(path, found, f"{name}/byteorder", 16) if f"{name}/byteorder" in found else b"little"
        if order.strip() != b"little":
            raise InputError(f"{path}: was written on a big-endian machine; load and save it again on another")
        program = _read(path, found, name + _PICKLE, MAX_PICKLE)
        script = f"{name}/constants.pkl" in found
        views = read_views(program, script)
        entries = {key: _entry(path, key, view, found, f"{name}/data/") for key, view in views.items()}
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except BrokenZip as error:
        raise InputError(f"{path}: not an intact torch archive ({error}); download it again, or {_ADVICE}") from None
    except RefusedPickle as error:
        raise InputError(f"{path}: refused: {error}; none of it was executed; {_ADVICE}") from None
    return Tensors(entries, (path,), "torchscript" if script else "torch")


def _root(path: Path, found: dict[str, Member]) -> str:
    """The folder that holds all of torch's members."""
    roots = [name.removesuffix(_PICKLE) for name in found if name.endswith(_PICKLE) and name.count("/") == 1]
    if len(roots) == 1:
        return roots[0]
    if found and all(name.endswith(".npy") for name in found):
        raise InputError(f"{path}: is a NumPy .npz file; expected .safetensors, or a .pth file that torch wrote")
    if len(roots) > 1:
        raise BrokenZip("it holds more than one data.pkl")
    inside = f"its first member is {quoted(min(found))}" if found else "it is empty"
    raise InputError(f"{path}: is a zip file that torch did not write ({inside}); unpack it and give the file inside")


def _read(path: Path, found: dict[str, Member], name: str, limit: int) -> bytes:
    member = _stored(found, name)
    if member.size > limit:
        raise RefusedPickle(
            f"{quoted(name)} has {member.size:,} bytes; at most {limit:,} are read (NumPy arrays in it?)"
        )
    with open(path, "rb") as stream:
        stream.seek(member.start)
        return stream.read(member.size)


def _stored(found: dict[str, Member], name: str) -> Member:
    member = found.get(name)
    if member is None:
        raise BrokenZip(f"it lacks {quoted(name)}")
    if not member.stored:
        raise BrokenZip(f"{quoted(name)} is compressed or encrypted, which torch never does")
    return member


def _entry(path: Path, name: str, view: View, found: dict[str, Member], folder: str) -> Entry:
    """The tensor's place in the file, after verifying every claim about it."""
    storage = view.storage
    # The key is looked up only among the members: it is never used as a path.
    member = _stored(found, folder + storage.key)
    if storage.count * storage.itemsize != member.size:
        raise BrokenZip(
            f"{quoted(name)} claims a storage of {_number(storage.count)} {storage.dtype} elements, "
            f"but the archive holds {member.size:,} bytes"
        )
    elements = 1
    for size in view.shape:
        elements *= size
    if view.offset + elements > storage.count:
        raise BrokenZip(f"{quoted(name)} extends past the end of its storage")
    if elements and not is_compact(view.shape, view.strides):
        raise InputError(
            f"{path}: {quoted(name)} is a view with gaps or repeats; save the tensors with .contiguous() instead"
        )
    start = member.start + view.offset * storage.itemsize
    row_major = not elements or _row_major(view)
    return Entry(path, storage.dtype, view.shape, start, None if row_major else view.strides)


def _row_major(view: View) -> bool:
    step = 1
    for size, stride in zip(reversed(view.shape), reversed(view.strides), strict=True):
        if size != 1 and stride != step:
            return False
        step *= size
    return True


def _number(value: int) -> str:
    return f"{value:,}" if value < 1 << 64 else "more than 2 ** 64"
