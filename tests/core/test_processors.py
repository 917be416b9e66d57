# SPDX-License-Identifier: Apache-2.0
"""What the system tells of the processors, and what is known where it tells nothing."""

from __future__ import annotations

import pytest

from adaptface_jax.core import processors

X86 = "processor\t: 0\nvendor_id\t: made\nvmx flags\t: vnmi\nflags\t\t: fpu avx2 avx512f\nbugs\t\t: none\n\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd\nCPU part\t: 0xd0c\n\n"


@pytest.fixture
def cpuinfo(monkeypatch, tmp_path):
    monkeypatch.setattr(processors, "CPUINFO", tmp_path / "cpuinfo")
    processors.flags.cache_clear()
    yield tmp_path / "cpuinfo"
    processors.flags.cache_clear()


@pytest.mark.parametrize(("text", "expected"), [(2 * X86, {"fpu", "avx2", "avx512f"}), (ARM, set()), ("", set())])
def test_the_instruction_sets_of_an_x86_processor(text, expected, cpuinfo):
    cpuinfo.write_text(text)
    assert processors.flags() == expected


def test_where_there_is_no_list_none_is_known(cpuinfo):
    assert processors.told() == []
    assert processors.flags() == frozenset()
