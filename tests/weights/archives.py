"""torch archives and safetensors files written byte by byte, so that they can hold what torch never would."""

from __future__ import annotations

import io
import json
import struct
import warnings
import zipfile

import numpy as np

# 6 float32 elements.
STORAGE = struct.pack("<6f", *range(6))


def text(value: str) -> bytes:
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def integer(value: int) -> bytes:
    if -(1 << 31) <= value < 1 << 31:
        return b"J" + struct.pack("<i", value)
    raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw


def named(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def sequence(*items: bytes) -> bytes:
    return b"(" + b"".join(items) + b"t"


def call(module: str, name: str, *arguments: bytes) -> bytes:
    return named(module, name) + sequence(*arguments) + b"R"


def dictionary(items: dict[str, bytes] | list[tuple[bytes, bytes]]) -> bytes:
    pairs = [(text(key), value) for key, value in items.items()] if isinstance(items, dict) else items
    return b"}(" + b"".join(key + value for key, value in pairs) + b"u"


def storage(key: str = "0", kind: str = "FloatStorage", count: int = 6) -> bytes:
    return sequence(text("storage"), named("torch", kind), text(key), text("cpu"), integer(count)) + b"Q"


def tensor(
    stored: bytes | None = None, offset: int = 0, shape: tuple[int, ...] = (2, 3), strides: tuple[int, ...] = (3, 1)
) -> bytes:
    sizes = (sequence(*map(integer, values)) for values in (shape, strides))
    hooks = call("collections", "OrderedDict")
    parts = (storage() if stored is None else stored, integer(offset), *sizes, b"\x89", hooks)
    return call("torch._utils", "_rebuild_tensor_v2", *parts)


def program(body: bytes) -> bytes:
    return b"\x80\x02" + body + b"."


def state(**more: bytes) -> bytes:
    """The pickle of {"x": a tensor, ...}."""
    return program(dictionary({"x": tensor(), **more}))


def module(**attributes: bytes) -> bytes:
    """A module of TorchScript."""
    return named("__torch__", "Model") + b")\x81" + dictionary(attributes) + b"b"


def packed(members: list[tuple[str, bytes]], compression: int = zipfile.ZIP_STORED) -> bytes:
    """A zip file; names may occur twice."""
    stream = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(stream, "w", compression) as archive:
        warnings.simplefilter("ignore")
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name), data, compression)
    return stream.getvalue()


def archive(pickled: bytes, storages: dict[str, bytes] | None = None, **more: bytes) -> bytes:
    """What torch.save writes; `more`: further members by name ("byteorder")."""
    members = [("x/data.pkl", pickled)]
    members += [(f"x/data/{key}", data) for key, data in ({"0": STORAGE} if storages is None else storages).items()]
    return packed(members + [(f"x/{name}", data) for name, data in more.items()])


def script(pickled: bytes) -> bytes:
    """What torch.jit.save writes."""
    return archive(pickled, **{"constants.pkl": program(b")"), "code/__torch__.py": b"raise SystemExit\n"})


def patched(content: bytes, old: bytes, new: bytes, count: int = 1) -> bytes:
    """The first `count` occurrences (all: -1) of `old` replaced by `new`, of the same length."""
    assert old in content and len(old) == len(new)
    return content.replace(old, new, count)


def in_directory(content: bytes, member: str, field: int, value: bytes) -> bytes:
    """`value` over the bytes from `field` on in the directory's record of a member."""
    start = content.index(member.encode(), content.index(b"PK\1\2")) - 46 + field
    return content[:start] + value + content[start + len(value) :]


def in_local(content: bytes, member: str, field: int, value: bytes) -> bytes:
    """The same in the header before the member's data."""
    start = content.index(member.encode()) - 30 + field
    return content[:start] + value + content[start + len(value) :]


def raw(header: str | bytes, data: bytes = b"") -> bytes:
    """A safetensors file."""
    header = header.encode() if isinstance(header, str) else header
    return len(header).to_bytes(8, "little") + header + data


def entry(name: str, start: int, end: int, shape: list[int], dtype: str = "F32") -> str:
    """One tensor in the header of a safetensors file."""
    return f"{json.dumps(name)}:" + json.dumps({"dtype": dtype, "shape": shape, "data_offsets": [start, end]})


def saved(tensors: dict[str, np.ndarray]) -> bytes:
    """What torch.save writes for a flat state dict of float32 tensors."""
    values, storages = {}, {}
    for i, (name, x) in enumerate(tensors.items()):
        strides = tuple(stride // 4 for stride in np.ascontiguousarray(x).strides)
        values[name] = tensor(storage(str(i), count=x.size), 0, x.shape, strides)
        storages[str(i)] = np.ascontiguousarray(x, "<f4").tobytes()
    return archive(program(dictionary(values)), storages)
