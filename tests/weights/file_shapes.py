"""What a file of a name table holds, said by the table itself."""

from __future__ import annotations

from adaptface_jax.models.specs import BackboneSpec
from adaptface_jax.weights.names import engine
from adaptface_jax.weights.names.tables import Table


def file_shapes(table: Table, spec: BackboneSpec) -> dict[str, tuple[int, ...]]:
    """Every name that a file of this table and backbone has, with its shape."""
    shapes = {name: engine._file_shape(row, slot, spec) for slot, (name, row) in engine._expected(table, spec).items()}
    return shapes | {row.name: shape for row, shape in engine._unplaced(table, spec)}
