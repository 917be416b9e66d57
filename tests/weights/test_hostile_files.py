"""Malformed and malicious weight files are refused with one line, in bounded memory, and nothing in them runs."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from adaptface_jax.core.errors import InputError
from adaptface_jax.weights.formats.reader import open_weights

from .archives import (
    STORAGE,
    archive,
    call,
    dictionary,
    entry,
    in_directory,
    in_local,
    integer,
    module,
    named,
    packed,
    patched,
    program,
    raw,
    script,
    sequence,
    state,
    storage,
    tensor,
    text,
)

ROOT = Path(__file__).resolve().parents[2]
TOUCH = text("touch canary")
OPEN = (text("canary"), text("w"))


def view(**claims) -> bytes:
    """The archive of one tensor."""
    return archive(program(dictionary({"x": tensor(**claims)})))


def laughs(levels: int, leaf: bytes) -> bytes:
    """Ten names for the dictionary below, ten for the one below that, ..."""
    body = dictionary({"x": leaf}) + b"q\x00"
    for _ in range(levels):
        body = body + b"0" + dictionary({str(i): b"h\x00" for i in range(10)}) + b"q\x00"
    return archive(program(body))


def deep(opening: bytes, closing: bytes, levels: int) -> bytes:
    return archive(program(b"}" + text("x") + opening * levels + b"N" + closing * levels + b"s"))


def nested_members() -> bytes:
    """Every header agrees with the directory, and x/data/1 is inside x/data/0."""
    inner = packed([("x/data/1", STORAGE)])
    inner = inner[: inner.index(b"PK\1\2")]
    outer = packed([("x/data.pkl", state()), ("x/data/0", inner)])
    directory, end = outer.index(b"PK\1\2"), outer.index(b"PK\5\6")
    record = packed([("x/data/1", STORAGE)])
    record = record[record.index(b"PK\1\2") : record.index(b"PK\5\6")]
    record = record[:42] + struct.pack("<L", outer.index(inner)) + record[46:]
    size = end - directory + len(record)
    return outer[:end] + record + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 3, 3, size, directory, 0)


VALID = archive(state())
SCRIPT = script(program(module(x=tensor())))
TENSOR = raw("{" + entry("x", 0, 24, [2, 3]) + "}", STORAGE)

CODE = {
    "os.system": state(y=call("os", "system", TOUCH)),
    "posix.system": state(y=call("posix", "system", TOUCH)),
    "subprocess": state(y=call("subprocess", "getoutput", TOUCH)),
    "builtins.eval": state(y=call("builtins", "eval", text("open('canary', 'w')"))),
    "builtins.exec of Python 2": state(y=call("__builtin__", "exec", text("open('canary', 'w')"))),
    "builtins.open": state(y=call("builtins", "open", *OPEN)),
    "builtins.getattr": state(y=call("builtins", "getattr", named("torch", "FloatStorage"), text("from_file"))),
    "importlib": state(y=call("importlib", "import_module", text("antigravity"))),
    "torch.hub.load": state(y=call("torch.hub", "load", text("owner/name"), text("model"))),
    "torch.load": state(y=call("torch.serialization", "load", text("other.pth"))),
    "a file as a storage": state(y=call("torch.storage", "UntypedStorage.from_file", text("/etc/passwd"))),
    "numpy": state(y=call("numpy", "fromfile", text("/etc/passwd"))),
    "a module of torch": program(named("torch.nn.modules.linear", "Linear") + b")\x81}b"),
    "a class of the file's author": program(named("__main__", "Model") + b")\x81}b"),
    "a dotted name": state(y=call("collections", "OrderedDict.__init__.__globals__")),
    "a name from the stack": state(y=text("os") + text("system") + b"\x93" + sequence(TOUCH) + b"R"),
    "INST": state(y=b"(" + TOUCH + b"ios\nsystem\n"),
    "OBJ": state(y=b"(" + named("os", "system") + TOUCH + b"o"),
    "NEWOBJ outside TorchScript": state(y=named("collections", "OrderedDict") + b")\x81"),
    "NEWOBJ_EX": state(y=named("collections", "OrderedDict") + b")}\x92"),
    "EXT1": state(y=b"\x82\x01"),
    "a textual persistent id": state(y=b"Pcanary\n"),
    "another persistent id": state(y=sequence(text("module"), text("os"), text("system")) + b"Q"),
    "a call of text": state(y=text("os.system") + sequence(TOUCH) + b"R"),
    "a call of a storage type": state(y=call("torch", "FloatStorage", integer(1 << 40))),
    "a module that only TorchScript has": state(y=module()),
    "the state of a function": state(y=named("collections", "OrderedDict") + b"}b"),
    "DUP": state(y=b"N2"),
    "a set": state(y=b"\x8f"),
}

PICKLES = {
    "no pickle": b"hello",
    "an empty pickle": b"",
    "no end": state()[:-1],
    "an unknown instruction": program(b"\xff"),
    "a number": program(integer(1)),
    "a tensor alone": program(tensor()),
    "a list": program(b"](" + tensor() + b"e"),
    "no tensor": program(dictionary({"epoch": integer(1)})),
    "a key twice": program(dictionary([(text("x"), tensor()), (text("x"), tensor())])),
    "one name by two ways": program(dictionary({"a.b": tensor(), "a": dictionary({"b": tensor()})})),
    "a tuple as a key": program(dictionary([(sequence(text("x")), tensor())])),
    "a deep tuple as a key": program(b"}" + b"N" + b"\x85" * 200_000 + b"Ns"),
    "a float as a key": program(dictionary([(b"G" + struct.pack(">d", float("nan")), tensor())])),
    "a name of control characters": program(dictionary({"\x1b[2J\n": tensor()})),
    "a name of 10,000 characters": program(dictionary({"x" * 10_000: tensor()})),
    "a number of 10,000 digits as a name": program(
        b"}\x8b" + struct.pack("<i", 4200) + b"\x7f" * 4200 + tensor() + b"s"
    ),
    "a dictionary in itself": program(b"}q\x00(" + text("x") + tensor() + text("me") + b"h\x00u"),
    "a list in itself": state(y=b"]q\x07(h\x07h\x07e"),
    "a memo of 2 ** 31 places": state(y=b"Nr\xff\xff\xff\x7f" + b"h\xff"),
    "text longer than the file": state(y=b"X\xff\xff\xff\xff"),
    "bytes longer than the file": state(y=b"\x8e" + struct.pack("<Q", 1 << 60)),
    "a byte array longer than the file": state(y=b"\x96" + struct.pack("<Q", 1 << 40)),
    "a frame longer than the file": program(b"\x95" + struct.pack("<Q", 1 << 50)),
    "a number longer than the file": state(y=b"\x8b" + struct.pack("<i", (1 << 31) - 1)),
    "items of a tensor": program(tensor() + text("x") + b"Ns"),
    "an OrderedDict of something": state(y=call("collections", "OrderedDict", sequence())),
    "a parameter without a tensor": state(y=call("torch._utils", "_rebuild_parameter", b"N", b"\x88", b"N")),
    "5 MiB of program": state(y=b"N" + b"0N" * (5 << 19)),
}

TENSORS = {
    "10^9 elements": view(shape=(10**9,), strides=(1,)),
    "10^9 elements in its storage as well": view(stored=storage(count=10**9), shape=(10**9,), strides=(1,)),
    "a product beyond 64 bits": view(shape=(1 << 33, 1 << 33), strides=(1 << 33, 1)),
    "a size beyond 64 bits": view(shape=(1 << 70,), strides=(1,)),
    "an empty tensor with impossible sizes": view(shape=(0, *[1 << 61] * 7), strides=(1,) * 8),
    "a negative size": view(shape=(-1, -6), strides=(1, 1)),
    "a negative stride": view(strides=(3, -1)),
    "a negative offset": view(offset=-1),
    "a negative storage": view(stored=storage(count=-6)),
    "an offset past the end": view(offset=1),
    "an offset beyond 64 bits": view(offset=1 << 64),
    "an expanded view": view(strides=(0, 1)),
    "a view that overlaps itself": view(strides=(1, 1)),
    "a view with gaps": view(shape=(2, 2), strides=(3, 1)),
    "9 axes": view(shape=(1,) * 9, strides=(1,) * 9),
    "more sizes than strides": view(strides=(1,)),
    "true as a size": archive(state().replace(sequence(integer(2), integer(3)), sequence(b"\x88", integer(3)))),
    "text as a size": archive(state().replace(sequence(integer(2), integer(3)), sequence(text("2"), integer(3)))),
    "a storage larger than its member": view(stored=storage(count=7)),
    "a storage smaller than its member": view(stored=storage(count=5), shape=(5,), strides=(1,)),
    "wider elements than its member": view(stored=storage(kind="DoubleStorage")),
    "a storage that is absent": view(stored=storage(key="1")),
    "a key that leaves the archive": view(stored=storage(key="../../../etc/passwd")),
    "an absolute key": view(stored=storage(key="/etc/passwd")),
    "the key of the pickle itself": view(stored=storage(key="../data.pkl")),
    "a key of 4,000 characters": view(stored=storage(key="\n" * 4000)),
    "a quantized storage": view(stored=storage(kind="QInt8Storage")),
    "a number as a storage": view(stored=integer(7)),
    "a big-endian machine": archive(state(), byteorder=b"big"),
    "an odd byte order": archive(state(), byteorder=b"middle\x1b[2J"),
}

END = VALID.index(b"PK\5\6")
ZIPS = {
    "a member twice": packed([("x/data.pkl", state()), ("x/data/0", STORAGE), ("x/data/0", bytes(24))]),
    "two pickles": packed([("x/data.pkl", state()), ("y/data.pkl", state()), ("x/data/0", STORAGE)]),
    "no pickle": packed([("x/data/0", STORAGE)]),
    "a name that leaves the archive": packed([("x/data.pkl", state()), ("../../canary", b""), ("x/data/0", STORAGE)]),
    "an absolute name": packed([("/x/data.pkl", state()), ("x/data/0", STORAGE)]),
    "a name of control characters": packed([("x/data.pkl", state()), ("\x1b[2J\n", b""), ("x/data/0", STORAGE)]),
    "a name that is no UTF-8": patched(VALID, b"x/data/0", b"x/data/\xff", -1),
    "a compressed storage": packed([("x/data.pkl", state()), ("x/data/0", bytes(24))], zipfile.ZIP_DEFLATED),
    "a bomb": packed([("x/data.pkl", bytes(50 << 20))], zipfile.ZIP_DEFLATED),
    "encrypted": in_local(in_directory(VALID, "x/data.pkl", 8, b"\1"), "x/data.pkl", 6, b"\1"),
    "encrypted by one header": in_directory(VALID, "x/data.pkl", 8, b"\1"),
    "a member inside another": nested_members(),
    "two members at one place": in_directory(VALID, "x/data/0", 42, struct.pack("<L", 0)),
    "a member over its neighbor": in_directory(
        in_directory(VALID, "x/data.pkl", 20, struct.pack("<L", 500)), "x/data.pkl", 24, struct.pack("<L", 500)
    ),
    "a member of 4 GB": in_directory(
        in_directory(VALID, "x/data/0", 20, b"\xfe" + b"\xff" * 3), "x/data/0", 24, b"\xfe" + b"\xff" * 3
    ),
    "two sizes": in_directory(VALID, "x/data/0", 24, struct.pack("<L", 48)),
    "a start past the end": in_directory(VALID, "x/data/0", 42, struct.pack("<L", 1 << 30)),
    "another name in the local header": patched(VALID, b"x/data/0", b"x/data/1"),
    "a longer name in the local header": in_local(VALID, "x/data/0", 26, b"\xff\xff"),
    "a missing 64-bit size": in_directory(VALID, "x/data/0", 24, b"\xff" * 4),
    "a cut 64-bit size": in_directory(
        patched(VALID, b"x/data/0", b"\1\0\4\0abcd", -1), "\1\0\4\0abcd", 24, b"\xff" * 4
    ),
    "70,000 members claimed": VALID[: END + 8] + b"\xfe\xff\xfe\xff" + VALID[END + 12 :],
    "a directory of 4 GB": VALID[: END + 12] + b"\xfe\xff\xff\xff" + VALID[END + 16 :],
    "a directory that starts too late": VALID[: END + 16] + struct.pack("<L", END + 9) + VALID[END + 20 :],
    "several disks": VALID[: END + 4] + b"\1\0" + VALID[END + 6 :],
    "a zip64 end that is not there": VALID[:END] + struct.pack("<4sLQL", b"PK\6\7", 0, 1 << 40, 1) + VALID[END:],
    "a zip64 end of 2^60 members": VALID[:END]
    + struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1 << 60, 1 << 60, 1 << 50, 0)
    + struct.pack("<4sLQL", b"PK\6\7", 0, END, 1)
    + VALID[END:],
    "bytes after the end": VALID + b"\0",
    "only a beginning": b"PK\3\4",
    "only an end": VALID[END:],
}

SCRIPTS = {
    "TorchScript that calls os.system": script(program(module(x=tensor(), y=call("os", "system", TOUCH)))),
    "TorchScript with a class of Python": script(program(named("builtins", "object") + b")\x81}b")),
    "TorchScript whose class takes arguments": script(program(named("__torch__", "M") + sequence(TOUCH) + b"\x81}b")),
    "TorchScript whose class is called": script(program(call("__torch__", "os.system", TOUCH))),
    "TorchScript in the state of itself": script(
        program(named("__torch__", "M") + b")\x81q\0}" + text("x") + b"h\0sb")
    ),
    "TorchScript with its state twice": script(program(module(x=tensor()) + b"}b")),
    "TorchScript without modules": script(state()),
    "TorchScript nested too deeply": script(program(named("__torch__", "M") + b")\x81" + b"]" * 99 + b"a" * 98 + b"b")),
    "TorchScript with a name like its prefix": script(program(named("__torch__x.os", "system") + b")\x81}b")),
    "TorchScript with another 10^9 elements": script(program(module(x=tensor(shape=(10**9,), strides=(1,))))),
}

SAFETENSORS = {
    "a header longer than the file": (1 << 20).to_bytes(8, "little") + b"{}",
    "a header of 2^64 bytes": b"\xff" * 8 + b"{}",
    "a header of 9 MiB": raw(b"{" + b" " * (9 << 20) + b"}"),
    "a header of nothing": bytes(8),
    "NaN": raw('{"x":{"dtype":"F32","shape":[NaN],"data_offsets":[0,4]}}', bytes(4)),
    "fractions": raw('{"x":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}}', bytes(4)),
    "10^9 elements": raw("{" + entry("x", 0, 24, [10**9]) + "}", STORAGE),
    "10^9 elements with offsets to suit": raw("{" + entry("x", 0, 4 * 10**9, [10**9]) + "}", STORAGE),
    "a product beyond 64 bits": raw("{" + entry("x", 0, 24, [1 << 33, 1 << 33]) + "}", STORAGE),
    "an empty tensor with impossible sizes": raw("{" + entry("x", 0, 0, [0, 1 << 62, 1 << 62]) + "}"),
    "a negative size": raw("{" + entry("x", 0, 24, [-2, -3]) + "}", STORAGE),
    "negative offsets": raw("{" + entry("x", -24, 0, [2, 3]) + "}", STORAGE),
    "a key twice": raw("{" + entry("x", 0, 24, [6]) + "," + entry("x", 0, 24, [6]) + "}", STORAGE),
    "overlapping tensors": raw("{" + entry("x", 0, 24, [6]) + "," + entry("y", 0, 24, [6]) + "}", STORAGE),
    "a hole": raw("{" + entry("x", 4, 24, [5]) + "}", STORAGE),
    "bytes after the end": TENSOR + b"\0",
    "a name of control characters": raw("{" + entry("\x1b[2J\n", 0, 24, [6]) + "}", STORAGE),
    "a name of 10,000 characters": raw("{" + entry("x" * 10_000, 0, 24, [6]) + "}", STORAGE),
    "a surrogate as a name": raw(r'{"\ud800":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', bytes(4)),
    "40 axes": raw("{" + entry("x", 0, 4, [1] * 40) + "}", bytes(4)),
    "deep JSON": raw('{"x":' * 100_000 + "1" + "}" * 100_000),
}

HOSTILE = {
    **{f"code in the pickle: {name}": archive(pickled) for name, pickled in CODE.items()},
    **{f"the pickle: {name}": archive(pickled) for name, pickled in PICKLES.items()},
    **{f"a tensor: {name}": content for name, content in TENSORS.items()},
    **{f"the zip: {name}": content for name, content in ZIPS.items()},
    **SCRIPTS,
    **{f"safetensors: {name}": content for name, content in SAFETENSORS.items()},
    "a billion laughs": laughs(9, tensor()),
    "a billion laughs without a tensor": laughs(9, b"N"),
    "deep dictionaries": deep(b"}" + text("x"), b"s", 10_000),
    "deep tuples": deep(b"", b"\x85", 200_000),
    "0 bytes": b"",
    "a bare pickle that runs code": b"\x80\x02" + call("os", "system", TOUCH) + b".",
    "the format before torch 1.6, with code": pickle.dumps(0x1950A86A20F9469CFC6C, 2) + call("os", "system", TOUCH),
    **{f".pth cut at byte {at}": VALID[:at] for at in range(0, len(VALID), 37)},
    **{f"TorchScript cut at byte {at}": SCRIPT[:at] for at in range(0, len(SCRIPT), 97)},
    **{f"safetensors cut at byte {at}": TENSOR[:at] for at in range(0, len(TENSOR), 11)},
}


def read_all(path: Path) -> None:
    tensors = open_weights(path)
    for name in tensors:
        tensors[name]


def check_refused(path: Path, folder: Path) -> None:
    before = sorted(folder.rglob("*"))
    tracemalloc.start()
    try:
        with pytest.raises(InputError) as caught:
            read_all(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    message = str(caught.value)
    assert message.isprintable(), "one line, and nothing that a terminal obeys"
    assert len(message) < 400
    assert str(folder) in message
    assert peak < 64 << 20
    assert sorted(folder.rglob("*")) == before, "something ran"


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_hostile_files_are_refused_in_one_line_and_nothing_runs(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x").write_bytes(content)
    check_refused(tmp_path / "x", tmp_path)


def test_the_files_that_the_table_starts_from_are_valid(tmp_path):
    for content, container in ((VALID, "torch"), (SCRIPT, "torchscript"), (TENSOR, "safetensors")):
        (tmp_path / "x").write_bytes(content)
        tensors = open_weights(tmp_path / "x")
        assert tensors.container == container
        np.testing.assert_array_equal(tensors["x"], np.arange(6, dtype=np.float32).reshape(2, 3))


def test_the_payload_of_the_table_would_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pickle.load(io.BytesIO(program(call("os", "system", TOUCH))))
    assert (tmp_path / "canary").exists()


def test_a_key_that_leaves_the_archive_means_nothing_even_where_a_file_is_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret").write_bytes(STORAGE)
    for key in ("../secret", "../../secret", str(tmp_path / "secret")):
        (tmp_path / "x.pth").write_bytes(view(stored=storage(key=key)))
        check_refused(tmp_path / "x.pth", tmp_path)


def test_a_folder_called_like_a_file(tmp_path):
    (tmp_path / "x.pth").mkdir()
    check_refused(tmp_path / "x.pth", tmp_path)


def index(folder: Path, content: object) -> Path:
    raw_text = content if isinstance(content, str) else json.dumps({"weight_map": content})
    (folder / "model.safetensors.index.json").write_text(raw_text)
    return folder


INDEXES = {
    "a shard outside": {"x": "../secret.safetensors"},
    "an absolute shard": {"x": "/secret.safetensors"},
    "the folder itself": {"x": "."},
    "a shard of control characters": {"x": "\x1b[2J\n"},
    "a shard with a NUL": {"x": "a\0b"},
    "a shard of 10,000 characters": {"x": "x" * 10_000},
    "a number as a shard": {"x": 1},
    "a list": [1, 2],
    "a key twice": '{"weight_map": {"x": "a.safetensors", "x": "a.safetensors"}}',
    "NaN as the size": '{"metadata": {"total_size": NaN}, "weight_map": {"x": "a.safetensors"}}',
    "a tensor that no shard holds": {"x": "a.safetensors", "y\n": "a.safetensors"},
    "a pickle as a shard": {"x": "a.pth"},
    "deep JSON": "[" * 100_000,
    "9 MiB": '{"weight_map": {}}' + " " * (9 << 20),
    "no JSON": "hello",
    "nothing": "",
    "no shard": {},
}


@pytest.mark.parametrize("content", INDEXES.values(), ids=INDEXES)
def test_hostile_indexes_are_refused(tmp_path, content):
    folder = tmp_path / "inner"
    folder.mkdir()
    for file in (tmp_path / "secret.safetensors", folder / "a.safetensors"):
        safetensors.numpy.save_file({"x": np.ones(1, np.float32)}, file)
    (folder / "a.pth").write_bytes(archive(state(y=call("os", "system", TOUCH))))
    check_refused(index(folder, content), tmp_path)


@pytest.mark.parametrize("name", ["code in the pickle: os.system", "a tensor: 10^9 elements"])
def test_the_converter_ends_with_one_line_and_status_2(tmp_path, name):
    (tmp_path / "x.pth").write_bytes(HOSTILE[name])
    command = [sys.executable, ROOT / "tools" / "convert_weights.py", "x.pth", "--out", "out"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (2, "")
    assert len(result.stderr.splitlines()) == 1
    assert os.listdir(tmp_path) == ["x.pth"]
