# SPDX-License-Identifier: Apache-2.0
"""Compiled programs are cached for the next command, unless a user chose otherwise."""

from __future__ import annotations

import os
from pathlib import Path

import jax
import pytest

from adaptface_jax.cli import compiled
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


def test_beyond_the_limit_the_oldest_are_deleted_whatever_version_wrote_them(told, tmp_path, monkeypatch):
    monkeypatch.setattr(compiled, "MOST", 250)
    entries = [tmp_path / "adaptface_jax" / version / "cpu" / f"{version}-cache" for version in ("0.1", "0.2", "0.3")]
    for age, path in enumerate(reversed(entries)):
        path.parent.mkdir(parents=True)
        path.write_bytes(bytes(100))
        os.utime(path, (1e9 - age, 1e9 - age))
    entries[0].read_bytes()
    os.utime(entries[0], (2e9, 1e9))  # written first, used last
    other = tmp_path / "adaptface_jax" / "0.1" / "cpu" / "notes"
    other.write_bytes(bytes(1000))
    assert keep_compiled()
    assert [path.exists() for path in (*entries, other)] == [True, False, True, True]


def test_programs_that_cannot_be_deleted_are_no_obstacle(told, tmp_path, monkeypatch):
    """Another process deletes them too, or the folder is read-only."""
    monkeypatch.setattr(compiled, "MOST", 0)
    gone = tmp_path / "adaptface_jax" / "0.1" / "cpu" / "gone-cache"
    gone.parent.mkdir(parents=True)
    gone.write_bytes(bytes(9))

    def refused(path):
        raise PermissionError(path)

    monkeypatch.setattr(Path, "unlink", refused)
    assert keep_compiled() and gone.exists()


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
