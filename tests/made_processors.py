# SPDX-License-Identifier: Apache-2.0
"""Processors by their instruction sets, for code that asks `core.processors` for them."""

from __future__ import annotations

import pytest

from adaptface_jax.core import processors

FLAGS = {
    "avx2": {"avx2", "fma"},
    "avx512": {"avx2", "avx512f"},
    "avx512_bf16": {"avx2", "avx512f", "avx512_bf16"},
    "amx": {"avx2", "avx512f", "amx_bf16", "amx_tile"},
    "other": set[str](),  # no x86, or no Linux
}


def pretend(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """This processor is that one, until the test ends."""
    monkeypatch.setattr(processors, "flags", lambda: frozenset(FLAGS[name]))
