# SPDX-License-Identifier: Apache-2.0
"""The blocks of a vision transformer on NVIDIA GPUs: the products of `vit.Block`, junctions between them.

Equal to `vit.Block` up to rounding: fewer roundings, and LayerScale is multiplied into the frozen kernels.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from adaptface_jax.models.kernels import proof
from adaptface_jax.models.kernels.attention import attend_packed
from adaptface_jax.models.kernels.feed_forward import Form as FeedForward
from adaptface_jax.models.kernels.feed_forward import feed_forward, fits
from adaptface_jax.models.kernels.junction import ALIGNED as COLUMNS
from adaptface_jax.models.kernels.junction import Form, Norm, Projection, Update, gated, junction
from adaptface_jax.models.kernels.products import product_from, product_to
from adaptface_jax.models.layers.attend import attend_whole
from adaptface_jax.models.layers.low_rank import Adaptation
from adaptface_jax.models.layers.mlp import ACTIVATIONS

ALIGNED = 2  # tokens, padding included: sums over an odd number of rows are padded by XLA, with copies


class Low(NamedTuple):
    """The low-rank update of a product: a [in, R], scaled; b [R, out]; gate float32 [B, R] or None."""

    a: jax.Array
    b: jax.Array
    gate: jax.Array | None


def of_targets(
    adaptation: Adaptation | None, names: Sequence[str], places: Mapping[str, tuple[int, int]], out: int
) -> Low | None:
    """The updates of the targets among `names`, which read the same input, as one: b is 0 outside their columns."""
    present = [name for name in names if adaptation is not None and name in adaptation.layers]
    if adaptation is None or not present:
        return None
    layers, ranks = [adaptation.layers[name] for name in present], adaptation.gate
    ends = [places.get(name, (0, out)) for name in present]
    b = [jnp.pad(layer["b"], ((0, 0), (start, out - end))) for layer, (start, end) in zip(layers, ends, strict=True)]
    gate = None if ranks is None else jnp.concatenate([ranks[:, : len(each)] for each in b], axis=1)
    return Low(jnp.concatenate([layer["a"] for layer in layers], axis=1) * adaptation.scale, jnp.concatenate(b), gate)


class Entry(NamedTuple):
    """The input of a product, as `junction` makes it: n, and the start of a low-rank update or None."""

    n: jax.Array
    low: jax.Array | None


class Stream(NamedTuple):
    """x [M, D]; p [M, D] or [M, D + R]: a product still to be added, with its bias and the end of its update."""

    x: jax.Array
    p: jax.Array | None = None
    bias: jax.Array | None = None
    update: Update | None = None

    def total(self, tokens: int) -> jax.Array:
        """The residual stream, in plain operations."""
        if self.p is None or self.bias is None:
            return self.x
        s = self.x + self.p[:, : self.x.shape[1]] + self.bias
        if self.update is not None:
            hidden = self.p[:, self.x.shape[1] :]
            if self.update.gate is not None:
                hidden = gated(hidden, self.update.gate, tokens)
            s = s + hidden @ self.update.b.astype(s.dtype)
        return s

    def then(self, form: Form, norm: Any, low: Low | None) -> tuple[jax.Array, Entry]:
        """The next stream, and the input of the products after `norm`."""
        dtype = self.x.dtype
        scale, shift = norm.scale[...], norm.bias[...]
        projection = None if low is None else Projection(low.a.astype(dtype), low.gate)
        s, n, hidden = junction(form, self.x, self.p, self.bias, self.update, Norm(scale, shift), projection)
        return s, Entry(n, hidden)


def block(module: Any, stream: Stream, adaptation: Adaptation | None, form: Form, images: int, real: int) -> Stream:
    """One block. module: a `vit.Block`; real: the tokens of an image that are none of the padding."""
    width, mlp = stream.x.shape[1], module.mlp
    s, entry, low = _before_attention(module, stream, adaptation, form)
    qkv = _entered(entry, module.attn.qkv.weights(s.dtype), low, _qkv_bias(module.attn, width))
    qkv = qkv.reshape(images, form.tokens, 3 * width)
    y = attend_packed(qkv, module.attn.heads, real, interpret=form.interpret, mesh=form.mesh)
    low = of_targets(adaptation, ("proj",), {}, width)
    stream = _left(s, y.reshape(-1, width), module.attn.proj, module.scale1, low)

    low = of_targets(adaptation, ("fc1",), {}, mlp.fc1.kernel.shape[-1])
    s, entry = stream.then(form, module.norm2, low)
    after = of_targets(adaptation, ("fc2",), {}, width)
    w1, b1 = mlp.fc1.weights(s.dtype), mlp.fc1.bias[...].astype(s.dtype)
    if low is None and after is None and fits(*w1.shape):
        w2, b2 = _scaled(mlp.fc2, module.scale2, s.dtype)
        hopper = proof.wrong_on_hopper(*w1.shape) == ""
        own = FeedForward(mlp.activation, form.interpret, mesh=form.mesh, hopper=hopper)
        return Stream(s, feed_forward(own, entry.n, w1, b1, w2), b2)
    hidden = _entered(entry, w1, low, b1)
    # Only its input is kept for the backward pass.
    hidden = jax.checkpoint(ACTIVATIONS[mlp.activation])(hidden)
    return _left(s, hidden, mlp.fc2, module.scale2, after)


def last_block(
    module: Any, stream: Stream, adaptation: Adaptation | None, form: Form, images: int, real: int
) -> jax.Array:
    """The output of a block for the class token, [B, 1, D]: only keys and values are computed of all tokens."""
    width, attention = stream.x.shape[1], module.attn
    s, entry, low = _before_attention(module, stream, adaptation, form)
    kernel, bias = attention.qkv.weights(s.dtype), _qkv_bias(attention, width)

    def entered(entry: Entry, columns: slice) -> jax.Array:
        own = None if low is None else low._replace(b=low.b[:, columns])
        return _entered(entry, kernel[:, columns], own, None if bias is None else bias[columns])

    def by_head(x: jax.Array) -> jax.Array:
        return x.reshape(images, -1, attention.heads, width // attention.heads)

    of_class = jax.tree.map(lambda x: x.reshape(images, form.tokens, -1)[:, 0], entry)
    query = entered(of_class, slice(0, width))
    keys, values = jnp.split(entered(entry, slice(width, 3 * width)), 2, axis=1)
    y = attend_whole(by_head(query), by_head(keys)[:, :real], by_head(values)[:, :real])
    branch = attention.proj(y.reshape(images, 1, width), adaptation, "proj")
    return module.after_attention(s.reshape(images, form.tokens, width)[:, :1], branch, adaptation)


def _before_attention(module: Any, stream: Stream, adaptation: Adaptation | None, form: Form) -> tuple:
    """The stream, the input of q, k and v, and their update."""
    width = stream.x.shape[1]
    thirds = {name: (i * width, (i + 1) * width) for i, name in enumerate("qkv")}
    low = of_targets(adaptation, ("qkv", "q", "k", "v"), thirds, 3 * width)
    return *stream.then(form, module.norm1, low), low


def _qkv_bias(attention: Any, width: int) -> jax.Array | None:
    if attention.qv is not None:
        first, last = jnp.split(attention.qv.bias[...], 2)
        return jnp.concatenate([first, jnp.zeros(width, first.dtype), last])
    return None if attention.qkv.bias is None else attention.qkv.bias[...]


def _entered(entry: Entry, kernel: jax.Array, low: Low | None, bias: jax.Array | None) -> jax.Array:
    """A product after a norm, with its low-rank update and bias."""
    n, hidden = entry
    if low is None or hidden is None:
        y = jnp.matmul(n, kernel)
        return y if bias is None else y + bias.astype(n.dtype)
    bias = jnp.zeros(kernel.shape[1], n.dtype) if bias is None else bias.astype(n.dtype)
    return product_from(n, hidden, kernel, low.b.astype(n.dtype), bias)


def _left(s: jax.Array, y: jax.Array, dense: Any, layer_scale: Any, low: Low | None) -> Stream:
    """The stream s with a product of y still to be added."""
    kernel, bias = _scaled(dense, layer_scale, y.dtype)
    if low is None:
        return Stream(s, jnp.matmul(y, kernel), bias)
    b = low.b if layer_scale is None else low.b * layer_scale.gamma[...].astype(low.b.dtype)
    return Stream(s, product_to(y, kernel, low.a.astype(y.dtype)), bias, Update(b.astype(y.dtype), low.gate))


def _scaled(dense: Any, layer_scale: Any, dtype: Any) -> tuple[jax.Array, jax.Array]:
    """Kernel and bias of a layer, times the LayerScale after it."""
    kernel, bias = dense.weights(dtype), dense.bias[...].astype(dtype)
    if layer_scale is None:
        return kernel, bias
    gamma = layer_scale.gamma[...].astype(dtype)
    return kernel * gamma, bias * gamma


def aligned(dense: Any) -> Callable[[jax.Array], jax.Array]:
    """A layer whose input is padded to whole 16 bytes: without, cuBLAS has no fast product for 14 x 14 x 3 columns."""

    def product(x: jax.Array) -> jax.Array:
        kernel, bias = dense.weights(x.dtype), None if dense.bias is None else dense.bias[...]
        missing = -len(kernel) % COLUMNS
        x = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, missing)])
        return _entered(Entry(x, None), jnp.pad(kernel, ((0, missing), (0, 0))), None, bias)

    return product


def blocks(
    of_block: Callable[[int, Any], tuple[Any, Adaptation | None]],
    choose: Callable[[int, Callable[[], jax.Array], Any], Any],
    gate: Any,
    x: jax.Array,
    count: int,
    depth: int,
    eps: float,
    remat: bool = False,
    mesh: Mesh | None = None,
) -> tuple[jax.Array, Any]:
    """x [B, T, D] through all blocks, and the gates; only the class token, [B, 1, D], if count is less than depth.

    of_block: (i, gate) -> (module, its adaptation or None). choose: (i, function of tokens, gate) -> the gate of
    block i. count: the blocks that compute every token, depth or one less. remat: keep only streams for the backward
    pass. mesh: over whose devices images are split (`kernels.split`). On a CPU, for tests, the kernels are interpreted.
    """
    images, real, width = x.shape
    tokens = -(-real // ALIGNED) * ALIGNED
    x = jnp.pad(x, ((0, 0), (0, tokens - real), (0, 0)))
    form = Form(tokens, eps, interpret=jax.default_backend() == "cpu", mesh=mesh)
    stream = Stream(x.reshape(-1, width))

    def seen() -> jax.Array:
        return stream.total(tokens).reshape(images, tokens, width)[:, :real]

    for i in range(depth):
        gate = choose(i, seen, gate)
        module, adaptation = of_block(i, gate)
        if i == count:
            return last_block(module, stream, adaptation, form, images, real), gate
        whole = functools.partial(block, module, form=form, images=images, real=real)
        stream = (jax.checkpoint(whole) if remat else whole)(stream, adaptation)
    return seen(), gate
