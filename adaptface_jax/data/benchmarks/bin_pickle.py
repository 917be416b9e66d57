"""Reads the one kind of pickle that verification packs use, and nothing else.

The allowed instructions build lists, tuples, bytes, numbers, and stand-ins for the NumPy calls that a pack may name.
There are no dictionaries (hashing a deep tuple overflows the C stack), and bytes are held at most twice.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import numpy as np

from adaptface_jax.core.restricted_pickle import PLAIN, InertUnpickler, RefusedPickle, instructions

# As NumPy writes them: unsigned and signed integers and booleans; no floats, no objects, no structures.
_DTYPES = {"u1", "i1", "b1", "i2", "i4", "i8", "u2", "u4", "u8"}


@dataclasses.dataclass(slots=True)
class _DType:
    name: str
    order: str = "|"

    def build(self, state: tuple) -> None:
        self.order = _text(state[1])

    def numpy(self) -> np.dtype:
        if self.name not in _DTYPES or self.order not in ("|", "<", ">"):
            raise RefusedPickle("it holds a non-integer array")
        return np.dtype(self.order + self.name)


@dataclasses.dataclass(slots=True)
class _Array:
    value: np.ndarray = dataclasses.field(default_factory=lambda: np.empty(0, np.uint8))

    def build(self, state: tuple) -> None:
        _, shape, dtype, fortran, data = state
        self.value = _frombuffer(data, dtype, shape, "F" if fortran else "C").value


def _frombuffer(data: bytes, dtype: _DType, shape: tuple, order: str) -> _Array:
    # NumPy checks that the shape has exactly as many elements as the bytes: nothing is allocated.
    flat = np.frombuffer(_typed(data, bytes), _typed(dtype, _DType).numpy())
    return _Array(flat.reshape(tuple(_typed(size, int) for size in shape), order="F" if order in ("F", b"F") else "C"))


def _reconstruct(*_arguments: object) -> _Array:
    return _Array()  # the shape given here is filled in by BUILD; NumPy would allocate it


def _scalar(dtype: _DType, data: bytes) -> int:
    return int(_frombuffer(data, dtype, (), "C").value)


def _dtype(name: str | bytes, *_flags: object) -> _DType:
    return _DType(_text(name))


def _text(value: str | bytes) -> str:
    return value.decode("ascii") if isinstance(value, bytes) else _typed(value, str)  # Python 2 wrote bytes


def _typed(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise RefusedPickle("its arrays are not in the form that NumPy writes")
    return value


class _ArrayType:
    """What `numpy.ndarray` stands for: an argument of `_reconstruct`, never called."""


_NAMES = {
    ("numpy", "ndarray"): _ArrayType(),
    ("numpy", "dtype"): _dtype,
    ("numpy._core.numeric", "_frombuffer"): _frombuffer,
    ("numpy.core.numeric", "_frombuffer"): _frombuffer,
}
for _module in ("numpy._core.multiarray", "numpy.core.multiarray"):
    _NAMES[_module, "_reconstruct"] = _reconstruct
    _NAMES[_module, "scalar"] = _scalar


class _Reader(InertUnpickler):
    names: ClassVar = _NAMES

    def __init__(self, data: bytes):
        super().__init__(data, encoding="bytes")
        self._encoded_left = len(data)

    def find_class(self, module: str, name: str) -> Any:
        return self._encode if (module, name) == ("_codecs", "encode") else super().find_class(module, name)

    def _encode(self, text: str, encoding: str) -> bytes:
        """How protocol 2 writes bytes. Other codecs, or one string repeated, could grow without bound."""
        if encoding not in ("latin1", "latin-1"):
            raise RefusedPickle(f"it asks for the codec {encoding!r:.40}")
        self._encoded_left -= len(text)
        if self._encoded_left < 0:
            raise RefusedPickle("it holds more bytes than its file")
        return text.encode("latin-1")

    def load_build(self) -> None:
        state = self.stack.pop()
        if not isinstance(self.stack[-1], (_Array, _DType)):
            raise RefusedPickle("it sets the state of something that is not an array")
        self.stack[-1].build(state)

    # Python 2 wrote bytes as strings.
    dispatch: ClassVar = instructions(f"{PLAIN} STRING BINSTRING SHORT_BINSTRING BUILD", BUILD=load_build)


def read_plain_pickle(data: bytes) -> object:
    """Lists, tuples, bytes, numbers and integer arrays (ndarray) from one pickle of any protocol.

    Raises RefusedPickle for anything else, before any of it is executed.
    """
    return _Reader(data).value()


def plain(value: object) -> object:
    """The ndarray of an array, anything else unchanged."""
    return value.value if isinstance(value, _Array) else value
