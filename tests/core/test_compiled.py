"""Compiled programs are cached for the next command, unless a user chose otherwise."""

from __future__ import annotations

import os

import jax
import pytest

from adaptface_jax.cli.compiled import VARIABLE, keep_compiled
from adaptface_jax.core.version import __version__


@pytest.fixture
def told(monkeypatch, tmp_path):
    """The setting passed to jax, with an empty cache and no choice by the user."""
    told: dict[str, str] = {}
    monkeypatch.setattr(jax.config, "update", told.__setitem__)
    monkeypatch.setenv(VARIABLE, "")
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return told


def test_they_are_in_the_users_cache_by_version_and_processor(told, tmp_path):
    folder = keep_compiled()
    assert folder.is_dir() and folder.parent == tmp_path / "adaptface_jax" / __version__
    assert told == {"jax_compilation_cache_dir": str(folder)}
    assert os.environ[VARIABLE] == str(folder)  # for processes that this one starts


@pytest.mark.parametrize("choice", ["", "/somewhere/else"])
def test_a_users_choice_is_respected(told, tmp_path, monkeypatch, choice):
    monkeypatch.setenv(VARIABLE, choice)
    assert keep_compiled() is None
    assert not told and not list(tmp_path.iterdir()) and os.environ[VARIABLE] == choice


def test_without_a_place_for_them_nothing_is_kept(told, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert keep_compiled() is None
    assert not told and VARIABLE not in os.environ
