# SPDX-License-Identifier: Apache-2.0
"""Before kernels are used on a device, their results on it are compared with the plain form's.

A kernel is compiled by the installed versions of jax and of the driver for the device at hand, which no test elsewhere
has seen. The comparison takes seconds, once for each width in a process: kernels compile side by side, their plain
forms for the CPU, and nothing else is compiled.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from adaptface_jax.distributed.compiler import untuned_options
from adaptface_jax.distributed.devices import is_hopper
from adaptface_jax.models.kernels import attention, feed_forward, junction
from adaptface_jax.models.layers.attend import attend_whole
from adaptface_jax.models.layers.mlp import ACTIVATIONS

IMAGES, TOKENS, REAL, RANKS = 2, 66, 65, 24  # a whole block, an odd token and one of padding; ranks in two chunks
REGISTERS = 4  # further tokens, which attention handles in another way than a single one
ON_HOPPER, ROWS = "a product of Hopper GPUs", 200  # rows: three of its tiles and a piece
EPS = 1e-6
# Relative, in the L2 norm: what bfloat16 rounds is 2e-3 to 6e-3, and a wrong row, column or factor is far above.
TOLERANCE = 2e-2


@functools.cache
def wrong(width: int, heads: int, hidden: int, interpret: bool = False) -> str:
    """Which kernel's value or gradient differs from the plain form's in float32, "" if none does.

    width, heads, hidden: of a block with frozen weights, in bfloat16. A kernel that does not compile is named, too.
    """
    return _first_wrong(_comparisons, width, heads, hidden, interpret)


@functools.cache
def wrong_on_hopper(width: int, hidden: int) -> str | None:
    """The same of the products of `hopper`; None where they are not used, at all or for these sizes."""
    if not is_hopper(jax.devices()[0]):
        return None
    try:
        fits = feed_forward.Form("gelu", hopper=True).on_hopper((ROWS, width), hidden)
    except Exception as error:  # another version of jax may not even have what the module names
        return _uncompiled(ON_HOPPER, error)
    return _first_wrong(_on_hopper, width, hidden) if fits else None


def _first_wrong(comparisons: Callable[..., dict[str, tuple[Any, Any, tuple]]], *sizes: Any) -> str:
    """In threads that trace nothing: the caller may be traced."""
    with ThreadPoolExecutor() as elsewhere:
        compared = elsewhere.submit(comparisons, *sizes).result()
        return next(filter(None, elsewhere.map(_difference, compared, compared.values())), "")


def _difference(name: str, comparison: tuple[Any, Any, tuple]) -> str:
    """What is wrong with this kernel, or ""."""
    try:
        farthest = _farthest(*comparison)
    except Exception as error:  # whatever the compiler of an unknown version raises
        return _uncompiled(name, error)
    if not farthest < TOLERANCE:  # not a number is wrong, too
        return f"{name} differs from its plain form by {farthest:.2g}, in the L2 norm"
    return ""


def _uncompiled(name: str, error: Exception) -> str:
    return f"{name} does not compile ({type(error).__name__})"


def _comparisons(width: int, heads: int, hidden: int, interpret: bool) -> dict[str, tuple[Any, Any, tuple]]:
    """Name -> kernel, the same in plain operations, and arguments, all of which have gradients; arrays are numpy's."""
    rng, rows = np.random.default_rng(0), IMAGES * TOKENS

    of = functools.partial(_normal, rng)
    form = junction.Form(TOKENS, EPS, interpret=interpret)
    bias, scale, shift = of(width), of(width, size=0.1, mean=1.0), of(width)
    norm = junction.Norm(jnp.asarray(scale), jnp.asarray(shift))
    gate = rng.uniform(size=(IMAGES, RANKS)).astype(np.float32)

    def joined(x: Any, p: Any, b: Any, a: Any, gate: Any) -> Any:
        update, projection = junction.Update(b, gate), junction.Projection(a, gate)
        return junction.junction(form, x, p, bias, update, norm, projection)[:2]

    def apart(x: Any, p: Any, b: Any, a: Any, gate: Any) -> Any:
        gates = jnp.repeat(gate, TOKENS, axis=0)
        s = x + p[:, :width] + bias + (p[:, width:] * gates) @ b
        mean, variance = jnp.mean(s, axis=1, keepdims=True), jnp.var(s, axis=1, keepdims=True)
        n = (s - mean) / jnp.sqrt(variance + EPS) * norm.scale + norm.shift
        rest = jnp.zeros((rows, junction.extended(width, RANKS) - width - RANKS), n.dtype).at[:, 0].set(1)
        return s, jnp.concatenate([n, (n @ a) * gates, rest], axis=1)

    def attention_of(real: int, stored: int) -> tuple[Any, Any, tuple]:
        def kernel(qkv: Any) -> Any:
            return attention.attend_packed(qkv, heads, real, interpret=interpret)

        def plain(qkv: Any) -> Any:
            q, k, v = (each.reshape(IMAGES, real, heads, -1) for each in jnp.split(qkv[:, :real], 3, axis=-1))
            y = attend_whole(q, k, v).reshape(IMAGES, real, width)
            return jnp.pad(y, ((0, 0), (0, stored - real), (0, 0)))

        return kernel, plain, (of(IMAGES, stored, 3 * width),)

    compared: dict[str, tuple[Any, Any, tuple]] = {
        "the kernel between two products": (
            joined,
            apart,
            (
                of(rows, width),
                of(rows, width + RANKS),
                of(RANKS, width, size=0.2),
                of(width, RANKS, size=width**-0.5),
                gate,
            ),
        ),
        "the kernel of attention": attention_of(REAL, TOKENS),
        "the kernel of attention with registers": attention_of(REAL + REGISTERS, TOKENS + REGISTERS),
    }
    if feed_forward.fits(width, hidden):
        halves = _feed_forward(feed_forward.Form("gelu", interpret), rows, width, hidden)
        compared["the kernel of the feed-forward gradient"] = halves
    return compared


def _on_hopper(width: int, hidden: int) -> dict[str, tuple[Any, Any, tuple]]:
    form = feed_forward.Form("gelu", hopper=True)
    return {ON_HOPPER: _feed_forward(form, ROWS, width, hidden)}


def _feed_forward(form: feed_forward.Form, rows: int, width: int, hidden: int) -> tuple[Any, Any, tuple]:
    of = functools.partial(_normal, np.random.default_rng(2))
    w1, b1 = of(width, hidden, size=width**-0.5), of(hidden, size=0.2)
    w2, n = of(hidden, width, size=hidden**-0.5), of(rows, width)
    return (
        lambda n: feed_forward.feed_forward(form, n, w1, b1, w2),
        lambda n: ACTIVATIONS["gelu"](n @ w1 + b1) @ w2,
        (n,),
    )


def _normal(rng: np.random.Generator, *shape: int, size: float = 1.0, mean: float = 0.0) -> np.ndarray:
    """Of bfloat16, made without a device: eager operations there would each be compiled."""
    return (mean + size * rng.standard_normal(shape)).astype(jnp.bfloat16)


def _farthest(kernel: Any, plain: Any, arguments: tuple) -> float:
    """The largest relative distance of a value or a gradient."""
    exact = jax.tree.map(lambda x: x.astype(np.float32), arguments)
    rng = np.random.default_rng(1)
    shapes = jax.eval_shape(plain, *exact)
    cotangents = jax.tree.map(lambda s: _normal(rng, *s.shape), shapes)
    with jax.default_matmul_precision("highest"):
        expected = _value_and_gradients(plain, exact, cotangents, _exact_device())
    found = _value_and_gradients(kernel, arguments, cotangents, jax.devices()[0])
    pairs = zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True)
    return max(float(np.linalg.norm(a.astype(np.float32) - b) / np.linalg.norm(b)) for a, b in pairs)


def _value_and_gradients(function: Any, arguments: tuple, cotangents: Any, device: jax.Device) -> Any:
    """On this device, by a single program."""

    def both(arguments: tuple, cotangents: Any) -> Any:
        values, pull = jax.vjp(function, *arguments)
        return values, pull(jax.tree.map(lambda c, value: c.astype(value.dtype), cotangents, values))

    given = jax.device_put((arguments, cotangents), device)
    return jax.device_get(jax.jit(both, compiler_options=untuned_options(device.platform))(*given))


def _exact_device() -> jax.Device:
    """A CPU: it compiles in a fraction of the time. The default device where jax has only that one."""
    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError:
        return jax.devices()[0]
