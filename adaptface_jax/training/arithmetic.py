# SPDX-License-Identifier: Apache-2.0
"""The compute and memory cost of a training step.

The compiler's own cost analysis counts the body of a loop once, whatever its length, and skips kernels that are
called: a scan of 12 blocks counts as one. So the products are counted in the traced program instead.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn


@dataclasses.dataclass(frozen=True)
class Cost:
    """One step on each device: floating-point operations of its products, and the bytes it uses while running."""

    flops: float
    bytes: int

    def line(self) -> str:
        """One line for the header of a run."""
        return f"step      {self.flops / 1e9:,.0f} GFLOP in matrix products and {self.bytes / 1e9:.2f} GB per device"


def cost(traced: jax.stages.Traced, compiled: jax.stages.Compiled, devices: int) -> Cost:
    """The cost per device of a program that is spread over `devices`."""
    memory = compiled.memory_analysis()
    held = 0
    if memory is not None:  # some backends do not report it
        held = memory.argument_size_in_bytes + memory.temp_size_in_bytes
    return Cost(flops(traced.jaxpr) / devices, held)


def flops(program: ClosedJaxpr | Jaxpr) -> float:
    """Multiplications and additions of all matrix products, convolutions and fused attention, over all devices.

    A loop counts once per iteration (a `while` of unknown length once), a branch as its most expensive case.
    """
    return sum(_of(equation) for equation in program.eqns)


def _of(equation: JaxprEqn) -> float:
    name, params = equation.primitive.name, equation.params
    if name == "dot_general":
        first = _shape(equation.invars[0])
        (contracted, _), _ = params["dimension_numbers"]
        return 2.0 * _numbers(equation) * math.prod(first[axis] for axis in contracted)
    if name == "conv_general_dilated":
        second = _shape(equation.invars[1])
        outputs = second[params["dimension_numbers"].rhs_spec[0]]
        return 2.0 * _numbers(equation) * math.prod(second) / outputs
    if name.startswith("dot_product_attention"):  # [B, T, heads, d] and [B, S, heads, d]: two products, or five
        first, second, products = _shape(equation.invars[0]), _shape(equation.invars[1]), 5 if "bwd" in name else 2
        return 2.0 * products * math.prod(first) * second[1]
    if "cost_estimate" in params:  # a kernel, whose body is that of one program, of many
        estimate = params["cost_estimate"]
        return 0.0 if estimate is None else float(estimate.flops)
    inner = [flops(program) for program in _programs(params)]
    if not inner:
        return 0.0
    if name == "cond":
        return max(inner)
    times = params["length"] if name == "scan" else params["mesh"].size if name == "shard_map" else 1
    return times * sum(inner)


def _numbers(equation: JaxprEqn) -> int:
    return math.prod(_shape(equation.outvars[0]))


def _shape(variable: Any) -> tuple[int, ...]:
    return variable.aval.shape


def _programs(params: dict[str, Any]) -> Iterator[ClosedJaxpr | Jaxpr]:
    for value in params.values():
        for part in value if isinstance(value, tuple | list) else (value,):
            if isinstance(part, ClosedJaxpr | Jaxpr):
                yield part
