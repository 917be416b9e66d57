"""A hidden package behaves as if not installed, until the block ends."""

from __future__ import annotations

import importlib
import sys

import pytest

from adaptface_jax.core.imports import hidden


def test_a_hidden_package_cannot_be_imported_only_within_the_block(tmp_path, monkeypatch):
    (tmp_path / "heavy_package.py").write_text("loaded = True\n")
    monkeypatch.syspath_prepend(tmp_path)
    with hidden("heavy_package"), pytest.raises(ImportError):
        importlib.import_module("heavy_package")
    assert importlib.import_module("heavy_package").loaded
    with hidden("heavy_package"):  # what is already loaded costs nothing
        assert importlib.import_module("heavy_package").loaded
    del sys.modules["heavy_package"]
    with pytest.raises(KeyError), hidden("heavy_package"):
        raise KeyError
    assert importlib.import_module("heavy_package").loaded
    del sys.modules["heavy_package"]
