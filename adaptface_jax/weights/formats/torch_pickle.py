# SPDX-License-Identifier: Apache-2.0
"""The pickle inside a torch archive, read as names and locations of tensors; torch is not needed.

For a state dict, torch.save writes dictionaries, numbers, text, and for every tensor one call that names a storage, an
offset, a shape and strides. TorchScript adds its own modules, whose classes are in code that is never opened. Trainers
save arguments, metrics and settings beside them, which become stand-ins without content. Anything else is refused.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, ClassVar

from adaptface_jax.core.restricted_pickle import PLAIN, InertUnpickler, RefusedPickle, instructions
from adaptface_jax.core.text import quoted
from adaptface_jax.weights.formats.tensors import MAX_NAME, MAX_TENSORS

MAX_DEPTH = 16

# dtype, bytes per element
STORAGES = {
    "DoubleStorage": ("F64", 8),
    "FloatStorage": ("F32", 4),
    "HalfStorage": ("F16", 2),
    "BFloat16Storage": ("BF16", 2),
    "LongStorage": ("I64", 8),
    "IntStorage": ("I32", 4),
    "ShortStorage": ("I16", 2),
    "CharStorage": ("I8", 1),
    "ByteStorage": ("U8", 1),
    "BoolStorage": ("BOOL", 1),
    "ComplexFloatStorage": ("C64", 8),
    "ComplexDoubleStorage": ("C128", 16),
}
_DTYPES = "float64 float32 float16 bfloat16 int64 int32 int16 int8 uint8 bool complex64 complex128".split()


@dataclasses.dataclass(frozen=True, slots=True)
class Storage:
    """key: the member of the archive that holds it; count: elements."""

    key: str
    dtype: str
    itemsize: int
    count: int


@dataclasses.dataclass(frozen=True, slots=True)
class View:
    """A tensor: offset and strides count elements of the storage. The file's claims, not yet verified."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class _StorageType:
    dtype: str
    itemsize: int


@dataclasses.dataclass(slots=True)
class _Module:
    """A TorchScript module: whatever its class, only the attributes matter."""

    state: Any = None


class _ModuleType:
    """A stand-in for every TorchScript class; only NEWOBJ instantiates it."""


class _Leaf:
    """A dtype or a device: named, never used."""


_LEAF = _Leaf()


def _rebuild_tensor(storage: object, offset: object, shape: object, strides: object, *_rest: object) -> View:
    if type(storage) is not Storage:
        raise RefusedPickle("it holds a tensor without a storage")
    sizes, steps = _sizes(shape), _sizes(strides)
    if len(sizes) != len(steps):
        raise RefusedPickle(f"it holds a tensor of {len(sizes)} sizes and {len(steps)} strides")
    return View(storage, _sizes((offset,))[0], sizes, steps)


def _sizes(values: object) -> tuple[int, ...]:
    if type(values) is not tuple or len(values) > 8:
        raise RefusedPickle("it holds a tensor whose shape is not a tuple of at most 8 sizes")
    for value in values:
        if type(value) is not int or not 0 <= value < 1 << 62:
            raise RefusedPickle(f"a size, stride or offset of a tensor is {_kind(value)}")
    return values


def _rebuild_parameter(tensor: object, *_rest: object) -> View:
    if type(tensor) is not View:
        raise RefusedPickle("it holds a parameter without a tensor")
    return tensor


def _ordered_dict(*items: object) -> dict:
    if items:
        raise RefusedPickle("it builds a dictionary from arguments")
    return {}


def _dictionary(*_default: object) -> dict:
    return {}


def _first(value: object, *_tag: object) -> object:
    return value


def _leaf(*_arguments: object) -> _Leaf:
    return _LEAF


# What trainers save beside the weights, by module: a name that may be called, whatever with, and gives nothing.
_BESIDE = {
    **dict.fromkeys(
        ("__builtin__", "builtins"), "bool complex dict float frozenset int list range set slice str tuple xrange"
    ),
    "_codecs": "encode",  # the bytes of a NumPy number
    "argparse": "Namespace",
    "collections": "Counter",
    "datetime": "date datetime timedelta",
    "numpy": "dtype ndarray",
    "omegaconf.base": "ContainerMetadata Metadata",
    "omegaconf.dictconfig": "DictConfig",
    "omegaconf.listconfig": "ListConfig",
    "omegaconf.nodes": "AnyNode",
    "torch.serialization": "_get_layout",
    "torch.torch_version": "TorchVersion",
    "types": "SimpleNamespace",
    "typing": "Any",
    **dict.fromkeys(("numpy.core.multiarray", "numpy._core.multiarray"), "scalar _reconstruct"),
    **dict.fromkeys(("pathlib", "pathlib._local"), "Path PosixPath PurePosixPath PureWindowsPath WindowsPath"),
}
# Dictionaries of theirs, whose items may be tensors.
_DICTIONARIES = {
    "collections": "defaultdict",
    "easydict": "EasyDict",
    "lightning.fabric.utilities.data": "AttributeDict",
    "lightning.pytorch.utilities.parsing": "AttributeDict",
    "lightning_fabric.utilities.data": "AttributeDict",
    "pytorch_lightning.utilities.parsing": "AttributeDict",
    "yacs.config": "CfgNode",
}
_NAMES: dict[tuple[str, str], Any] = {
    (module, name): stand_in
    for of, stand_in in ((_BESIDE, _leaf), (_DICTIONARIES, _dictionary))
    for module, names in of.items()
    for name in names.split()
}
_NAMES |= {
    ("collections", "OrderedDict"): _ordered_dict,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _rebuild_parameter,
    ("torch", "Size"): _first,
    ("torch", "device"): _leaf,
}
_NAMES |= {("torch", name): _StorageType(*storage) for name, storage in STORAGES.items()}
_NAMES |= {("torch", name): _LEAF for name in _DTYPES}
_SCRIPT_NAMES = _NAMES | {
    ("torch.jit._pickle", name): _first
    for name in "build_intlist build_doublelist build_boollist build_tensorlist restore_type_tag".split()
}


class _Reader(InertUnpickler):
    names: ClassVar = _NAMES

    def persistent_load(self, pid: Any) -> Storage:
        match pid:
            case ("storage", _StorageType() as kind, str(key), str(), int(count)) if type(count) is int and count >= 0:
                return Storage(key, kind.dtype, kind.itemsize, count)
        raise RefusedPickle("it refers to something external that is not a storage")

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._set([key, value])

    def load_setitems(self) -> None:
        self._set(self.pop_mark())

    def _set(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not dict or len(items) % 2:
            raise RefusedPickle("it sets the items of something that is not a dictionary")
        for key, value in zip(items[::2], items[1::2], strict=True):
            # Hashing a deep tuple overflows the C stack; no state dict has one.
            if type(key) is not str and type(key) is not int:
                raise RefusedPickle(f"a key of a dictionary is {_kind(key)}, not text")
            if key in target:
                raise RefusedPickle(f"the key {quoted(key) if type(key) is str else _kind(key)} occurs twice")
            target[key] = value

    def load_build(self) -> None:
        state = self.stack.pop()
        target = self.stack[-1]
        if type(target) is _Module and target.state is None:
            target.state = state
        elif type(target) not in (dict, _Leaf):  # a state dict carries its modules' versions, which no reader needs
            raise RefusedPickle("it sets the state of something that is not a module")

    def load_newobj(self) -> None:
        arguments, kind = self.stack.pop(), self.stack.pop()
        if type(kind) is _ModuleType and arguments == ():
            self.append(_Module())
        elif kind in (_leaf, _dictionary):
            self.append(kind())
        else:
            raise RefusedPickle("it creates an instance of a class")

    dispatch: ClassVar = instructions(
        f"{PLAIN} FLOAT BINFLOAT EMPTY_DICT SETITEM SETITEMS BUILD BINPERSID NEWOBJ",
        SETITEM=load_setitem,
        SETITEMS=load_setitems,
        BUILD=load_build,
        NEWOBJ=load_newobj,
    )


class _ScriptReader(_Reader):
    names: ClassVar = _SCRIPT_NAMES

    def find_class(self, module: str, name: str) -> Any:
        if module == "__torch__" or module.startswith("__torch__."):
            return _ModuleType()
        return super().find_class(module, name)


def read_views(data: bytes, script: bool) -> dict[str, View]:
    """Dotted name -> tensor, for every tensor in the pickle `data`; `script`: with the modules of TorchScript.

    {"teacher": {"backbone.norm.weight": t}} gives "teacher.backbone.norm.weight"; items of lists are numbered. Numbers,
    text and the like are skipped. Raises RefusedPickle for everything that torch.save(model.state_dict()) and
    torch.jit.save do not write, before any of it is executed.
    """
    value = (_ScriptReader if script else _Reader)(data).value()
    if type(value) is not (_Module if script else dict):
        raise RefusedPickle(f"it holds {_kind(value)}, not a {'module' if script else 'dictionary of tensors'}")
    views: dict[str, View] = {}
    for name, view in _flatten(value):
        if name in views:
            raise RefusedPickle(f"the name {quoted(name)} occurs twice")
        views[name] = view
    return views


def _flatten(root: object) -> Iterator[tuple[str, View]]:
    """Every path to a tensor. Values may be shared or contain themselves: depth, steps and names are bounded."""
    steps = 0
    waiting: list[tuple[str, int, Iterator[tuple[object, object]]]] = [("", 0, iter(_items(root) or ()))]
    while waiting:
        prefix, depth, items = waiting[-1]
        for key, value in items:
            steps += 1
            if steps > MAX_TENSORS:
                raise RefusedPickle(f"it holds more than {MAX_TENSORS:,} values")
            inner = _items(value)
            if inner is None and type(value) is not View:
                continue
            name = f"{prefix}{key:d}" if type(key) is int and abs(key) < 1 << 62 else f"{prefix}{key!s:.{MAX_NAME + 1}}"
            if len(name) > MAX_NAME:
                raise RefusedPickle(f"it holds a name longer than {MAX_NAME} characters, {quoted(name)}")
            if type(value) is View:
                yield name, value
                continue
            if depth == MAX_DEPTH:
                raise RefusedPickle(f"it is nested more than {MAX_DEPTH} levels deep, at {quoted(name)}")
            waiting.append((f"{name}.", depth + 1, iter(inner or ())))
            break
        else:
            waiting.pop()


def _items(value: object) -> Any:
    """Pairs of key and value; None for anything that is not a container."""
    if type(value) is _Module:
        value = value.state
    if type(value) is dict:
        return value.items()
    return enumerate(value) if type(value) in (list, tuple) else None  # type: ignore[arg-type]


def _kind(value: object) -> str:
    """A printable number, or the kind of the value: the repr of a nested value is unbounded."""
    if type(value) is int:
        return str(value) if abs(value) < 1 << 64 else "beyond 64 bits"
    return {View: "a tensor", _Module: "a module", str: "text"}.get(
        type(value), f"a {type(value).__name__.strip('_').lower()}"
    )
