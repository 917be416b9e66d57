"""What the code on the pages must not leave behind for other tests."""

from __future__ import annotations

import pytest

from adaptface_jax.data.benchmarks.from_path import PREFIXES as BENCHMARKS
from adaptface_jax.data.sources.from_path import PREFIXES as SOURCES
from adaptface_jax.losses.margin import MARGINS
from adaptface_jax.models.specs import BACKBONES


@pytest.fixture(autouse=True)
def _the_tables_stay_as_they_are():
    """Pages show how to add rows to them."""
    tables: list[dict] = [BACKBONES, SOURCES, BENCHMARKS, MARGINS]
    before = [dict(table) for table in tables]
    yield
    for table, rows in zip(tables, before, strict=True):
        table.clear()
        table.update(rows)
