# SPDX-License-Identifier: Apache-2.0
"""The products of Hopper GPUs, interpreted, equal plain ones; they are used where they fit, and nowhere else."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adaptface_jax.distributed.mesh import make_mesh, sharding
from adaptface_jax.models.kernels import hopper, proof
from adaptface_jax.models.kernels.feed_forward import Form, feed_forward
from tests import made_models as models

WIDTH, HIDDEN = 128, 256
WHOLE, PIECE = 5 * hopper.ROWS, 8  # an odd number of tiles for three turns; a tile that is not full
# Only later interpreters cut off what lies outside of an array, as the copy engine does.
ROWS = [WHOLE, WHOLE + PIECE] if jax.__version_info__ >= (0, 11) else [WHOLE]


def interpreter() -> Any:
    from jax._src.pallas.mosaic_gpu.interpret.params import InterpretGPUParams  # exported by later versions only

    return InterpretGPUParams()


@pytest.fixture
def few_processors(monkeypatch):
    monkeypatch.setattr(hopper, "PROCESSORS", 2)  # both columns of tiles, and all rows of each in one program


def made(*shapes: tuple[int, ...]) -> list[jax.Array]:
    rng = np.random.default_rng(0)
    return [jnp.asarray(rng.standard_normal(shape) * shape[0] ** -0.5, jnp.bfloat16) for shape in shapes]


def distance(found: jax.Array, expected: jax.Array) -> float:
    return float(jnp.linalg.norm(found.astype(jnp.float32) - expected) / jnp.linalg.norm(expected))


def exact(x: jax.Array, w: jax.Array) -> jax.Array:
    return jnp.matmul(x.astype(jnp.float32), w.astype(jnp.float32), precision="highest")


@pytest.mark.parametrize("rows", ROWS)
def test_a_product_ends_in_gelu_and_its_derivative(rows: int, few_processors: None) -> None:
    x, w, bias = made((rows, WIDTH), (WIDTH, HIDDEN), (HIDDEN,))
    x, bias = 30 * x, 8 * bias  # from -6 to 6, where GELU is not yet 0 and already 0
    h = exact(x, w) + bias.astype(jnp.float32)
    expected = jax.jvp(lambda h: jax.nn.gelu(h, approximate=False), (h,), (jnp.ones_like(h),))
    found = hopper.activated_product(x, w, bias, interpret=interpreter())
    for mine, other in zip(found, expected, strict=True):
        assert mine.dtype == jnp.bfloat16
        assert distance(mine, other.astype(jnp.bfloat16).astype(jnp.float32)) < 5e-4  # one rounding, now and then
        assert distance(mine, other) < 3e-3


@pytest.mark.parametrize("rows", ROWS)
def test_a_product_ends_in_a_factor(rows: int, few_processors: None) -> None:
    x, w, factor = made((rows, WIDTH), (WIDTH, HIDDEN), (rows, HIDDEN))
    found = hopper.scaled_product(x, w, factor, interpret=interpreter())
    assert distance(found, exact(x, w) * factor.astype(jnp.float32)) < 2.5e-3


def lowered(form: Form, rows: int, width: int = 384) -> str:
    """The gradient of the feed-forward half, for NVIDIA GPUs."""
    shapes = ((rows, width), (width, 1536), (1536,), (1536, width), (rows, width))
    places = [None if form.mesh is None else sharding(form.mesh, *axis) for axis in (["batch"], [], [], [], ["batch"])]
    n, w1, b1, w2, dy = (
        jax.ShapeDtypeStruct(shape, jnp.bfloat16, sharding=place) for shape, place in zip(shapes, places, strict=True)
    )
    step = jax.jit(lambda n, w1, b1, w2, dy: jax.vjp(lambda n: feed_forward(form, n, w1, b1, w2), n)[1](dy))
    return step.trace(n, w1, b1, w2, dy).lower(lowering_platforms=("cuda",)).as_text()


def test_both_are_kernels_on_hopper_gpus() -> None:
    text = lowered(Form("gelu", hopper=True), 2 * 258 * 4)
    assert text.count("stablehlo.custom_call @mosaic_gpu") == 2
    assert text.count("stablehlo.custom_call @") == 2
    assert "activated_product" in text
    assert "scaled_product" in text


def test_each_of_several_gpus_computes_its_own_rows() -> None:
    mesh = make_mesh(jax.devices()[:8])
    assert mesh.size == 8
    text = lowered(Form("gelu", mesh=mesh, hopper=True), 8 * 264)
    assert text.count("stablehlo.custom_call @mosaic_gpu") == 2
    assert "tensor<264x1536xbf16>" in text


@pytest.mark.skipif(jax.__version_info__ >= (0, 11), reason="jax 0.11 lowers Triton only beside a GPU, with a warning")
@pytest.mark.parametrize(
    ("form", "rows", "width"),
    [
        (Form("gelu"), 264, 384),
        (Form("quick_gelu", hopper=True), 264, 384),
        (Form("gelu", hopper=True), 258, 384),
        (Form("gelu", hopper=True), 264, 768),
    ],
    ids=["elsewhere", "other activations", "other rows", "wider models"],
)
def test_what_they_do_not_fit_is_computed_as_before(form: Form, rows: int, width: int) -> None:
    text = lowered(form, rows, width)
    assert "mosaic_gpu" not in text
    assert text.count("stablehlo.custom_call @") == 2


def test_they_are_only_for_gpus_that_have_them() -> None:
    proof.wrong_on_hopper.cache_clear()
    assert proof.wrong_on_hopper(384, 1536) == (None if jax.default_backend() != "gpu" else "")


def test_a_jax_without_their_compiler_goes_on_without_them(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = SimpleNamespace(platform="gpu", compute_capability="9.0")
    monkeypatch.setattr(jax, "devices", lambda: [gpu])
    monkeypatch.delattr("adaptface_jax.models.kernels.hopper")
    monkeypatch.setitem(sys.modules, "adaptface_jax.models.kernels.hopper", None)
    proof.wrong_on_hopper.cache_clear()
    said = proof.wrong_on_hopper(384, 1536)
    proof.wrong_on_hopper.cache_clear()
    assert said == "a product of Hopper GPUs does not compile (ModuleNotFoundError)"


def test_a_wrong_one_is_left_out_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adaptface_jax.models.recognizer.chosen", lambda *_: "fused")
    monkeypatch.setattr(proof, "wrong", lambda *_: "")
    recognizer = models.build(models.config("lora"))[0]
    monkeypatch.setattr(proof, "wrong_on_hopper", lambda *_: "a product of Hopper GPUs differs")
    assert recognizer.attend == "fused"
    said = "fused (without some of its kernels: a product of Hopper GPUs differs on this device)"
    assert recognizer.attention == said
    monkeypatch.setattr(proof, "wrong_on_hopper", lambda *_: "")
    assert recognizer.attention == "fused"


def test_the_proof_finds_a_wrong_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def doubled(x: jax.Array, w: jax.Array, factor: jax.Array, *_: Any) -> jax.Array:
        return 2 * (x @ w) * factor

    def plain(x: jax.Array, w: jax.Array, bias: jax.Array, *_: Any) -> tuple[jax.Array, ...]:
        h = x @ w + bias
        return jax.jvp(lambda h: jax.nn.gelu(h, approximate=False), (h,), (jnp.ones_like(h),))

    monkeypatch.setattr(hopper, "activated_product", plain)
    monkeypatch.setattr(hopper, "scaled_product", lambda x, w, factor, *_: (x @ w) * factor)
    assert proof._first_wrong(proof._on_hopper, 64, 128) == ""
    monkeypatch.setattr(hopper, "scaled_product", doubled)
    # Another width: the same one is not traced again.
    assert "a product of Hopper GPUs differs from its plain form" in proof._first_wrong(proof._on_hopper, 128, 128)
