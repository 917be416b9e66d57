# SPDX-License-Identifier: Apache-2.0
"""The two products of a feed-forward half that end in something, for Hopper GPUs (written with Pallas for Mosaic).

    activated   activation(x w + bias), its derivative there
    scaled      (x w) * factor

At a width of 384 a product takes as long as writing its results, so its end must run beside it, not after it. A program
keeps its columns of the weights in shared memory for all its tiles of rows. One warpgroup only loads, ahead of the
others; these take turns: while the tensor cores work for one, the others end their tiles. (On an H200, of 66,048 rows:
cuBLAS' product and the pass of `activation` 305 us, `activated` 213; the product of `feed_forward`, with Triton, 242,
cuBLAS' with a multiplication by XLA 180, but 255 within a step, `scaled` 150. Tiles of 128 rows in two turns, pairs of
programs that share what they load, and rows kept in place of the weights took longer.)

Source: the order of warpgroups as in FlashAttention-3 (arXiv 2407.08608).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu as plgpu
from jax.sharding import Mesh

from adaptface_jax.models.kernels.activation import gelu
from adaptface_jax.models.kernels.arithmetic import cost
from adaptface_jax.models.kernels.split import on_rows

ROWS, COLUMNS, DEPTH = 64, 128, 64  # of a tile of results, and of the sum at a time
TURNS, SLOTS = 3, 8  # warpgroups that take turns; steps that are loaded ahead of them
REGISTERS = {"load": 40, "compute": 152}  # of a thread
WIDEST = 384  # weights that fit the shared memory beside the rest
MULTIPLE = 8  # of rows: how the copy engine cuts them
PROCESSORS = 132  # of an H100: where the device at hand is none
LAYOUT = (plgpu.TilingTransform((8, DEPTH)), plgpu.SwizzleTransform(128))  # as the products read it, of 16 bits


def fits(rows: int, width: int, hidden: int, activation: str) -> bool:
    """Whether the kernels' tiles fill the arrays, and the end is known. rows: on one device."""
    return (
        rows % MULTIPLE == 0
        and width <= WIDEST
        and width % DEPTH == 0
        and hidden % COLUMNS == 0
        and activation == "gelu"
    )


def activated_product(
    x: jax.Array, w: jax.Array, bias: jax.Array, mesh: Mesh | None = None, interpret: Any = False
) -> tuple[jax.Array, ...]:
    """GELU(x w + bias) and the derivative there, [M, H] in x's dtype, of x [M, D], w [D, H], bias [H] in bfloat16.

    mesh: as in `split.on_rows`. interpret: as in `pallas.kernel`, for tests without a GPU.
    """
    return on_rows(mesh, functools.partial(_run, False, interpret), (x, w, bias), whole=(1, 2))


def scaled_product(
    x: jax.Array, w: jax.Array, factor: jax.Array, mesh: Mesh | None = None, interpret: Any = False
) -> jax.Array:
    """(x w) * factor, [M, H] in x's dtype, of x [M, D], w [D, H], factor [M, H] in bfloat16; the rest as above."""
    (result,) = on_rows(mesh, functools.partial(_run, True, interpret), (x, w, factor), whole=(1,))
    return result


class _Plan(NamedTuple):
    """A program makes COLUMNS of the results, of every `groups`-th tile of rows. scaled: which of the two products."""

    scaled: bool
    rows: int
    width: int
    hidden: int
    processors: int

    @property
    def steps(self) -> int:
        return self.width // DEPTH

    @property
    def across(self) -> int:
        return self.hidden // COLUMNS

    @property
    def groups(self) -> int:
        return max(1, min(self.processors // self.across, pl.cdiv(self.rows, ROWS)))

    def column(self) -> Any:
        """The first one of this program."""
        return lax.rem(lax.axis_index("program"), self.across) * COLUMNS

    def row(self, tile: Any) -> Any:
        """The first one of this program's tile with this number."""
        return (lax.div(lax.axis_index("program"), self.across) + tile * self.groups) * ROWS

    def tiles(self) -> Any:
        """How many this program has."""
        group = lax.div(lax.axis_index("program"), self.across)
        return lax.div(pl.cdiv(self.rows, ROWS) - group + self.groups - 1, self.groups)


class _Shared(NamedTuple):
    """Memory of a program: steps of rows, its weights, parts of the factor or its bias, results where none takes one's
    place.

    Then barriers: what was loaded (of rows apart for each turn, so that nobody waits for what another one takes), and
    what is free again.
    """

    rows: Any
    weights: Any
    other: Any
    results: Any
    rows_loaded: Any
    rows_free: Any
    weights_loaded: Any
    other_loaded: Any
    other_free: Any

    @classmethod
    def of(cls, plan: _Plan, dtype: Any) -> _Shared:
        def memory(*shape: int) -> Any:
            return plgpu.SMEM(shape, dtype, transforms=LAYOUT)

        return cls(
            memory(SLOTS, ROWS, DEPTH),
            memory(plan.steps, DEPTH, COLUMNS),
            memory(TURNS, ROWS, COLUMNS) if plan.scaled else plgpu.SMEM((COLUMNS,), dtype),
            None if plan.scaled else memory(TURNS, 2, ROWS, DEPTH),
            plgpu.Barrier(num_barriers=TURNS * SLOTS),
            plgpu.Barrier(num_barriers=SLOTS),
            plgpu.Barrier(num_barriers=plan.steps),
            plgpu.Barrier(num_barriers=TURNS),
            plgpu.Barrier(num_barriers=TURNS),
        )


def _load(plan: _Plan, given: tuple[Any, Any, Any], shared: _Shared) -> None:
    """What one warpgroup does: everything that is read."""
    plgpu.set_max_registers(REGISTERS["load"], action="decrease")
    x, w, other = given
    columns, tiles = pl.ds(plan.column(), COLUMNS), plan.tiles()
    for step in range(plan.steps):
        part = w.at[pl.ds(step * DEPTH, DEPTH), columns]
        plgpu.copy_gmem_to_smem(part, shared.weights.at[step], shared.weights_loaded.at[step])
    if not plan.scaled:
        plgpu.copy_gmem_to_smem(other.at[columns], shared.other, shared.other_loaded.at[0])

    def load(tile: Any, _: Any) -> Any:
        rows, turn = pl.ds(plan.row(tile), ROWS), lax.rem(tile, TURNS)
        for step in range(plan.steps):
            number = tile * plan.steps + step
            slot = lax.rem(number, SLOTS)
            _when(number >= SLOTS, plgpu.barrier_wait, shared.rows_free.at[slot])
            part = x.at[rows, pl.ds(step * DEPTH, DEPTH)]
            plgpu.copy_gmem_to_smem(part, shared.rows.at[slot], shared.rows_loaded.at[turn * SLOTS + slot])
            if plan.scaled and step == plan.steps // 2:  # late, so that it does not wait for the turn before
                _when(tile >= TURNS, plgpu.barrier_wait, shared.other_free.at[turn])
                plgpu.copy_gmem_to_smem(other.at[rows, columns], shared.other.at[turn], shared.other_loaded.at[turn])
        return 0

    lax.fori_loop(0, tiles, load, 0)
    for slot in range(SLOTS):
        _when(tiles * plan.steps > slot, plgpu.barrier_wait, shared.rows_free.at[slot])
    if plan.scaled:
        for turn in range(TURNS):
            _when(tiles > turn, plgpu.barrier_wait, shared.other_free.at[turn])


def _compute(plan: _Plan, made: tuple[Any, ...], shared: _Shared) -> None:
    """What each of the other warpgroups does, for every TURNS-th tile."""
    plgpu.set_max_registers(REGISTERS["compute"], action="increase")
    turn = lax.axis_index("warpgroup")
    if not plan.scaled:
        plgpu.barrier_wait(shared.other_loaded.at[0])
    finish = _scale if plan.scaled else _activate

    def compute(number: Any, _: Any) -> Any:
        tile = TURNS * number + turn
        start = tile * plan.steps

        def multiply(sums: Any) -> jax.Array:
            for step in range(plan.steps):
                _when(number == 0, plgpu.barrier_wait, shared.weights_loaded.at[step])
                slot = lax.rem(start + step, SLOTS)
                plgpu.barrier_wait(shared.rows_loaded.at[turn * SLOTS + slot])
                plgpu.wgmma(sums, shared.rows.at[slot], shared.weights.at[step])
                if step:  # the product before this one is done
                    plgpu.wgmma_wait(1)
                    plgpu.barrier_arrive(shared.rows_free.at[lax.rem(start + step - 1, SLOTS)])
            return sums[...]

        sums = pl.run_scoped(multiply, plgpu.WGMMAAccumulatorRef((ROWS, COLUMNS), jnp.float32))
        plgpu.barrier_arrive(shared.rows_free.at[lax.rem(start + plan.steps - 1, SLOTS)])
        finish(sums, shared, made, plan.row(tile), plan.column(), turn)
        return 0

    lax.fori_loop(0, lax.div(plan.tiles() - turn + TURNS - 1, TURNS), compute, 0)
    plgpu.wait_smem_to_gmem(0)


def _scale(sums: jax.Array, shared: _Shared, made: Any, row: Any, column: Any, turn: Any) -> None:
    """The factor is multiplied where it lies, and goes out as the result."""
    plgpu.barrier_wait(shared.other_loaded.at[turn])
    tile = shared.other.at[turn]
    for start in range(0, COLUMNS, DEPTH):
        part = tile.at[:, pl.ds(start, DEPTH)]
        part[...] = (sums[:, start : start + DEPTH] * part[...].astype(jnp.float32)).astype(part.dtype)
    plgpu.commit_smem()
    plgpu.copy_smem_to_gmem(tile, made[0].at[pl.ds(row, ROWS), pl.ds(column, COLUMNS)])
    plgpu.wait_smem_to_gmem(0, wait_read_only=True)
    plgpu.barrier_arrive(shared.other_free.at[turn])


def _activate(sums: jax.Array, shared: _Shared, made: Any, row: Any, column: Any, turn: Any) -> None:
    for start in range(0, COLUMNS, DEPTH):
        bias = shared.other[pl.ds(start, DEPTH)].astype(jnp.float32)
        part = sums[:, start : start + DEPTH]
        plgpu.wait_smem_to_gmem(0, wait_read_only=True)
        for number, values in enumerate(gelu(part + lax.broadcast_in_dim(bias, part.shape, [1]), _inverse)):
            shared.results[turn, number] = values.astype(shared.results.dtype)
        plgpu.commit_smem()
        for number, ref in enumerate(made):
            square = ref.at[pl.ds(row, ROWS), pl.ds(column + start, DEPTH)]
            plgpu.copy_smem_to_gmem(shared.results.at[turn, number], square)


def _inverse(x: jax.Array) -> jax.Array:
    """1 / x of x >= 1 in two instructions, where a division takes eight."""
    return jnp.exp2(-jnp.log2(x))


def _when(condition: Any, function: Callable[[Any], None], argument: Any) -> None:
    pl.when(condition)(lambda: function(argument))


@functools.partial(jax.jit, static_argnums=(0, 1))
def _run(scaled: bool, interpret: Any, x: jax.Array, w: jax.Array, other: jax.Array) -> tuple[jax.Array, ...]:
    rows, width = x.shape
    device = jax.devices()[0]
    processors = device.core_count if device.platform == "gpu" else PROCESSORS
    plan = _Plan(scaled, rows, width, w.shape[1], processors)
    made = (jax.ShapeDtypeStruct((rows, plan.hidden), x.dtype),) * (1 if scaled else 2)

    def program(*refs: Any) -> None:
        def body(shared: _Shared) -> None:
            loads = lax.axis_index("warpgroup") == TURNS
            pl.when(loads)(lambda: _load(plan, refs[:3], shared))
            pl.when(jnp.logical_not(loads))(lambda: _compute(plan, refs[3:], shared))

        pl.run_scoped(body, _Shared.of(plan, x.dtype), collective_axes="warpgroup")

    return pl.kernel(
        program,
        out_type=made,
        mesh=plgpu.Mesh(
            grid=(plan.groups * plan.across,),
            grid_names=("program",),
            num_threads=TURNS + 1,
            thread_name="warpgroup",
        ),
        compiler_params=plgpu.CompilerParams(approx_math=True, lowering_semantics=plgpu.LoweringSemantics.Warpgroup),
        cost_estimate=cost(2 * rows * width * plan.hidden, (x, w, other, *made), 3 * rows * plan.hidden * (not scaled)),
        interpret=interpret,
        name="scaled_product" if scaled else "activated_product",
    )(x, w, other)
