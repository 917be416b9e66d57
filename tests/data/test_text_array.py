"""Texts stored end to end come back unchanged, whatever the file name."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptface_jax.core.text import shown
from adaptface_jax.data.text_array import TextArray

file_names = st.binary(max_size=8).filter(lambda name: b"\0" not in name).map(os.fsdecode)


@given(st.lists(file_names))
def test_any_file_name_survives(texts):
    names = TextArray.of(texts)
    assert list(names) == texts
    assert names[1:] == texts[1:]
    assert list(TextArray(names.content)) == texts


def test_a_text_with_nul_gives_none():
    with pytest.raises(ValueError, match="NUL"):
        TextArray.of(["a\0b"])
    with pytest.raises(IndexError):
        TextArray.of(["a"])[1]


@given(file_names)
def test_shown_is_one_printable_line(text):
    assert shown(text).isprintable()
    assert shown("Zoë/1.jpg") == "Zoë/1.jpg"
    assert shown("a\nb") == r"a\nb"
