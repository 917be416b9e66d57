"""The contents of a file, derived from its name table."""

from __future__ import annotations

from adaptface_jax.models.specs import BackboneSpec
from adaptface_jax.weights.names import engine
from adaptface_jax.weights.names.tables import Table


def file_shapes(table: Table, spec: BackboneSpec) -> dict[str, tuple[int, ...]]:
    """Every name in a file of this table and backbone, with its shape."""
    shapes = {name: engine._file_shape(row, slot, spec) for slot, (name, row) in engine._expected(table, spec).items()}
    return shapes | {row.name: shape for row, shape in engine._unplaced(table, spec)}
