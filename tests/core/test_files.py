# SPDX-License-Identifier: Apache-2.0
"""JSON is valid for every reader, and files change atomically."""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
import stat

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptface_jax.core.errors import InputError, RunError
from adaptface_jax.core.files import locked, write_text
from adaptface_jax.core.json_io import read_json, to_json

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(PLAIN)
def test_plain_values_come_back_as_they_were(value):
    assert json.loads(to_json(value)) == value


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (math.nan, None),
        ([1.0, -math.inf], [1.0, None]),
        (np.array([[1, 2]]), [[1, 2]]),
        (np.array([0.5, np.nan]), [0.5, None]),
        (np.float32(0.5), 0.5),
        (np.bool_(True), True),
        (jnp.float32(0.5), 0.5),
        ((1, "é"), [1, "é"]),
        ({1e-3: 2}, {"0.001": 2}),
    ],
)
def test_what_json_cannot_express_becomes_plain(value, plain):
    assert json.loads(to_json(value), parse_constant=pytest.fail) == plain


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "results.json")
    with pytest.raises(InputError, match="is a pipe; expected a file"):
        read_json(tmp_path / "results.json")


def test_an_object_is_not_guessed_at():
    with pytest.raises(TypeError):
        to_json({"model": object()})


def test_a_file_is_replaced_whole_and_readable_as_others_are(tmp_path):
    path = tmp_path / "new" / "results.json"
    write_text(path, "old")
    write_text(path, "é\n")
    assert path.read_bytes() == "é\n".encode()
    (tmp_path / "other").touch()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE((tmp_path / "other").stat().st_mode)


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "results.json"
    write_text(path, "old")

    def full(*_):
        raise OSError(errno.EFBIG, "File too large")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"too large: '.*results.json'"):
        write_text(path, "new")
    assert [file.name for file in tmp_path.iterdir()] == ["results.json"]
    assert path.read_text() == "old"


@pytest.mark.parametrize("made_again", [True, False])
def test_a_folder_removed_while_it_is_written_to_gives_one_line(tmp_path, made_again):
    folder = tmp_path / "run"

    def work():
        with locked(folder, "busy"):
            shutil.rmtree(folder)
            if made_again:
                folder.mkdir()
            (folder / "x").touch()  # raises FileNotFoundError if it was not recreated

    with pytest.raises(RunError, match=r"run: was removed or replaced .*, run again"):
        work()
    with locked(folder, "busy"):
        pass
