"""Whatever a weight file holds, reading it gives tensors or a one-line InputError."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adaptface_jax.core.errors import InputError
from adaptface_jax.weights.formats.reader import open_weights

from .archives import (
    STORAGE,
    archive,
    call,
    dictionary,
    entry,
    integer,
    module,
    named,
    program,
    raw,
    script,
    sequence,
    state,
    storage,
    tensor,
    text,
)

# The deadline, in milliseconds, catches unbounded growth: one example takes a few.
fuzzing = settings(
    max_examples=200,
    deadline=300_000,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)

SEEDS = {
    "torch": archive(state(y=dictionary({"z": tensor(strides=(1, 2))})), byteorder=b"little"),
    "torchscript": script(program(module(x=tensor(), y=module(z=tensor(storage(kind="HalfStorage", count=12)))))),
    "safetensors": raw("{" + entry("x", 0, 16, [2, 2]) + "," + entry("y", 16, 24, [4], "BF16") + "}", STORAGE),
}


def read_all(path: Path, content: bytes) -> None:
    """Any other outcome fails the test."""
    path.write_bytes(content)
    message = ""
    try:
        tensors = open_weights(path)
        for name, shape in tensors.shapes.items():
            if tensors.dtypes[name] in ("F32", "F16", "BF16"):
                value = tensors[name]
                assert value.shape == shape and value.nbytes <= len(content) and name.isprintable()
    except InputError as error:
        message = str(error)
    assert message.isprintable() and len(message) < 400


changes = st.lists(
    st.tuples(
        st.sampled_from(["set", "flip", "insert", "remove", "repeat", "cut"]),
        st.floats(0, 1, exclude_max=True),
        st.binary(min_size=1, max_size=8),
    ),
    min_size=1,
    max_size=6,
)


def changed(content: bytes, wanted: list[tuple[str, float, bytes]]) -> bytes:
    """The content after each change, at a place given as a fraction of its length."""
    data = bytearray(content)
    for kind, fraction, value in wanted:
        at = int(fraction * len(data))
        if kind == "set":
            data[at : at + len(value)] = value
        elif kind == "flip" and data:
            data[at] ^= 1 << value[0] % 8
        elif kind == "insert":
            data[at:at] = value
        elif kind == "remove":
            del data[at : at + value[0]]
        elif kind == "repeat":
            data[at:at] = data[at : at + value[0]]
        elif kind == "cut":
            del data[at + (len(data) - at) // 2 :]
    return bytes(data)


@pytest.mark.parametrize("seed", SEEDS)
@fuzzing
@given(wanted=changes)
def test_a_changed_file_is_read_or_refused(tmp_path, seed, wanted):
    read_all(tmp_path / "x", changed(SEEDS[seed], wanted))


@fuzzing
@given(wanted=changes, as_script=st.booleans())
def test_a_changed_pickle_in_a_valid_archive_is_read_or_refused(tmp_path, wanted, as_script):
    if as_script:
        read_all(tmp_path / "x", script(changed(program(module(x=tensor(), y=module(z=tensor()))), wanted)))
    else:
        read_all(tmp_path / "x", archive(changed(state(y=tensor(strides=(1, 2))), wanted)))


@fuzzing
@given(wanted=changes)
def test_a_changed_header_of_true_length_is_read_or_refused(tmp_path, wanted):
    header = "{" + entry("x", 0, 16, [2, 2]) + "," + entry("y", 16, 24, [4], "BF16") + "}"
    read_all(tmp_path / "x", raw(changed(header.encode(), wanted), STORAGE))


# Instructions with valid arguments in any order reach deeper than changed bytes.
numbers = st.one_of(st.integers(-2, 12), st.sampled_from([1 << 31, 1 << 62, 1 << 63, -(1 << 63), 10**9]))
sizes = st.one_of(
    st.sampled_from([(), (6,), (2, 3), (3, 2), (3, 1), (1, 2), (1, 3), (2, 1, 3), (3, 99, 1), (0, 5)]),
    st.lists(numbers, max_size=4).map(tuple),
)
keys = st.sampled_from(["0", "1", "../data.pkl", "x", "", "a.b", "\n"])
storages = st.builds(storage, keys, st.sampled_from(["FloatStorage", "HalfStorage", "LongStorage"]), numbers)
tensors = st.one_of(
    st.builds(tensor, st.none(), st.integers(0, 6), sizes, sizes),
    st.builds(tensor, st.one_of(st.none(), storages), numbers, sizes, sizes),
)
names = st.sampled_from(
    [
        named("torch._utils", "_rebuild_tensor_v2"),
        named("torch._utils", "_rebuild_parameter"),
        named("torch", "FloatStorage"),
        named("torch", "Size"),
        named("torch", "device"),
        named("torch", "float32"),
        named("torch.jit._pickle", "restore_type_tag"),
        named("torch.jit._pickle", "build_tensorlist"),
        named("collections", "OrderedDict"),
        named("__torch__.a", "B"),
        named("os", "system"),
    ]
)
memo = st.builds(lambda code, place: code + bytes([place]), st.sampled_from([b"q", b"h"]), st.integers(0, 3))
small = st.binary(min_size=1, max_size=1).map(lambda raw_byte: raw_byte if raw_byte != b"." else b"N")
opcodes = st.one_of(
    st.sampled_from([bytes([code]) for code in b"()}]tuseaQRb\x81\x85\x86\x87N\x88\x8920l1d\x94\x93o\x8f"]),
    memo,
    keys.map(text),
    numbers.map(integer),
    names,
    tensors,
    sizes.map(lambda values: sequence(*map(integer, values))),
    keys.map(lambda key: call("torch.jit._pickle", "restore_type_tag", text(key), text(key))),
    st.floats().map(lambda value: b"G" + struct.pack(">d", value)),
    small,
)


@fuzzing
@given(start=st.sampled_from([b"}", b"](", named("__torch__", "M") + b")\x81}("]), body=st.lists(opcodes, max_size=25))
@pytest.mark.parametrize("pack", [archive, script])
def test_any_program_is_read_or_refused(tmp_path, pack, start, body):
    read_all(tmp_path / "x", pack(program(start + b"".join(body))))


values = st.recursive(
    st.one_of(tensors, numbers.map(integer), st.just(b"N")),
    lambda inner: st.one_of(
        st.dictionaries(st.sampled_from("abc0") | keys, inner, max_size=4).map(dictionary),
        st.lists(inner, max_size=4).map(lambda items: b"](" + b"".join(items) + b"e"),
        st.lists(inner, max_size=4).map(lambda items: sequence(*items)),
        st.dictionaries(st.sampled_from("abc"), inner, max_size=3).map(lambda items: module(**items)),
    ),
    max_leaves=8,
)


@fuzzing
@given(items=st.dictionaries(st.sampled_from("abcd"), values, min_size=1, max_size=3), as_script=st.booleans())
def test_any_nest_of_values_is_read_or_refused(tmp_path, items, as_script):
    read_all(tmp_path / "x", script(program(module(**items))) if as_script else archive(program(dictionary(items))))
