"""The part of the pickle machine that builds plain values; pickled formats extend it by name.

A pickle is a program. A reader made from this one runs only the instructions that it lists, resolves the names that it
lists to stand-ins of its own, imports nothing, and builds at most one small object per instruction: memory is bounded
by a multiple of the file.
"""

from __future__ import annotations

import io
import pickle
import pickletools
import struct
from collections.abc import Callable
from typing import Any, ClassVar

_NAME_OF = {ord(op.code): op.name for op in pickletools.opcodes}
_CODE_OF = {name: code for code, name in _NAME_OF.items()}

# Never listed by a reader: old-style instances, extension codes, sets, out-of-band buffers, and DUP, which copies
# without naming. Dictionaries, instances and persistent ids come with the checks of the reader that allows them.
PLAIN = (
    "PROTO FRAME STOP MARK POP POP_MARK NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 "
    "EMPTY_LIST APPEND APPENDS LIST EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 "
    "BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8 UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 "
    "PUT BINPUT LONG_BINPUT MEMOIZE GET BINGET LONG_BINGET GLOBAL STACK_GLOBAL REDUCE"
)

Instruction = Callable[[Any], None]


class RefusedPickle(Exception):
    """The program asks for something its reader refuses, or is broken; the message is one short line."""


class InertUnpickler(pickle._Unpickler):
    """Base of the readers. A subclass sets `dispatch` to `instructions(...)` and `names` to its stand-ins."""

    # The pure-Python unpickler: its memo is a dict (the C one allocates as many slots as a PUT claims), and its table
    # of instructions can be cut down.
    dispatch: ClassVar[dict[int, Instruction]] = {}
    names: ClassVar[dict[tuple[str, str], Any]] = {}
    # The base class makes these while it loads.
    stack: list[Any]
    read: Callable[[int], bytes]
    append: Callable[[object], None]
    pop_mark: Callable[[], list[Any]]

    def __init__(self, data: bytes, encoding: str = "ASCII"):
        super().__init__(io.BytesIO(data), encoding=encoding)

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self.names[module, name]
        except KeyError:
            raise RefusedPickle(f"it asks for {f'{module}.{name}'[:80]!a}") from None

    def value(self) -> Any:
        """What the program builds; raises RefusedPickle, and nothing else, if it builds nothing."""
        try:
            return self.load()
        except RefusedPickle:
            raise
        except KeyError as error:
            raise RefusedPickle(f"it uses the instruction {_NAME_OF.get(error.args[0], error.args[0])}") from None
        except Exception as error:  # a broken program fails in any way a program can
            raise RefusedPickle(f"it is broken ({type(error).__name__})") from None


def _load_bytearray8(reader: InertUnpickler) -> None:
    # The original allocates the claimed length before reading it.
    (size,) = struct.unpack("<Q", reader.read(8))
    reader.append(reader.read(size))


def instructions(names: str, **own: Instruction) -> dict[int, Instruction]:
    """The dispatch table of the opcodes called `names` (as pickletools spells them), `own` in place of the original."""
    own = {"BYTEARRAY8": _load_bytearray8} | own
    return {_CODE_OF[name]: own.get(name) or pickle._Unpickler.dispatch[_CODE_OF[name]] for name in names.split()}
