"""Frozen blocks sharded over devices: the results of one device, each holding its part, gathered one block at a
time."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest

from adaptface_jax.config.schema import Config
from adaptface_jax.core import trees
from adaptface_jax.core.errors import InputError
from adaptface_jax.distributed.fsdp import place_frozen
from adaptface_jax.distributed.mesh import here, make_mesh, place, sharding
from adaptface_jax.evaluation.embedding import Embedder
from adaptface_jax.losses.margin import init_statistics
from adaptface_jax.models import vit
from adaptface_jax.models.recognizer import Recognizer
from adaptface_jax.training import optim
from adaptface_jax.training.recognition.loss import make_loss
from adaptface_jax.training.recognition.model import build_model
from adaptface_jax.training.recognition.run import open_run, run_mesh
from adaptface_jax.training.step import init_state, make_step
from tests import made_models as models
from tests.made_runs import write_run

STEPS, DEPTH = 3, models.SPEC.depth
KERNELS = {"attn/qkv": (32, 96), "attn/proj": (32, 32), "mlp/fc1": (32, 64), "mlp/fc2": (64, 32)}  # of a block
FROZEN_ROUTER = models.replace(models.config("dalora", router="frozen"), "train", grad_accum=2)
# Classes are split as well, the kernels stored in 8 bits, and every block computed again in the backward pass.
INNER_ROUTER = models.replace(models.config("dalora"), "train", remat=True)
INNER_ROUTER = models.replace(models.replace(INNER_ROUTER, "backbone", quantize="int8"), "loss", class_chunk=3)


class Trained(NamedTuple):
    """The result of some steps: losses and the trainable tree; the frozen tree, the program, and image embeddings."""

    losses: list[float]
    trainable: Any
    frozen: Any
    program: jax.stages.Compiled
    embed: Callable[[], np.ndarray]


class Case(NamedTuple):
    """An unsplit tree on some devices, and one sharded over groups of 8."""

    settings: Config
    devices: int
    model: int
    fsdp: int
    passes: int  # through the blocks, of a step


CASES = {
    # The router on the unadapted backbone goes through the blocks once more.
    "frozen router, accumulated": Case(FROZEN_ROUTER, 8, 1, 4, passes=3),
    "inner router, 8 bits, remat, classes split": Case(INNER_ROUTER, 1, 4, 8, passes=2),
}


@functools.cache
def trained(name: str, split: bool) -> Trained:
    settings, devices, model, fsdp, _ = CASES[name]
    devices, model, fsdp = (8, model, fsdp) if split else (devices, 1, 1)
    settings = models.replace(settings, "train", model_parallel=model, fsdp=fsdp)
    mesh = make_mesh(jax.devices()[:devices], model, fsdp)
    recognizer, frozen, trainable = models.build(settings, classes=12)
    recognizer = dataclasses.replace(recognizer, mesh=mesh if fsdp > 1 else None)
    frozen = place_frozen(mesh, frozen, fsdp)
    rate = optim.schedule(settings.train, 10, 100)
    optimizer = optim.optimizer(settings.train, rate)
    state = place(mesh, init_state(jax.tree.map(jax.numpy.array, trainable), optimizer, init_statistics()))
    key = jax.device_put(jax.random.key(0), sharding(mesh))
    batches = [jax.device_put(models.batch(classes=12, seed=i), sharding(mesh, "batch")) for i in range(STEPS)]
    step = make_step(make_loss(recognizer, mesh), optimizer, rate, mesh, settings.train.grad_accum)
    program, losses = step.lower(frozen, state, batches[0], key).compile(), []
    for batch in batches:
        state, metrics = program(frozen, state, batch, key)
        losses.append(float(metrics["loss"]))

    def embed() -> np.ndarray:
        embedder, pictures = Embedder(recognizer, mesh, 8), list(models.batch()["image"])
        return embedder(frozen, state.trainable, pictures, flip=False).embedding

    return Trained(losses, state.trainable, frozen, program, embed)


@pytest.mark.parametrize("case", CASES)
def test_steps_match_an_unsplit_tree(case):
    whole, split = trained(case, False), trained(case, True)
    np.testing.assert_allclose(split.losses, whole.losses, rtol=1e-5)
    for path, leaf in trees.flatten(split.trainable).items():
        expected = np.asarray(trees.flatten(whole.trainable)[path], np.float64)
        assert np.linalg.norm(leaf - expected) <= 1e-5 * np.linalg.norm(expected), path


def test_embeddings_match_an_unsplit_tree():
    whole, split = (trained("inner router, 8 bits, remat, classes split", split).embed() for split in (False, True))
    assert models.relative(split, whole) < 1e-5


@pytest.mark.parametrize("case", CASES)
def test_each_device_holds_its_part_of_every_kernel_and_all_of_the_rest(case):
    settings, fsdp, frozen = CASES[case].settings, CASES[case].fsdp, trained(case, True).frozen
    for path, leaf in trees.flatten(frozen).items():
        parts = fsdp if path.startswith("backbone/blocks/") and path.endswith("/kernel") else 1
        sizes = {shard.data.size for shard in leaf.addressable_shards}
        assert sizes == {leaf.size // parts} and len(leaf.addressable_shards) == 8, path
        assert (leaf.dtype == np.int8) == (parts > 1 and settings.backbone.quantize == "int8")


def test_the_memory_of_a_step_shrinks_by_what_is_split():
    before, after = (trained("frozen router, accumulated", split).program.memory_analysis() for split in (False, True))
    kernels = 4 * DEPTH * sum(din * dout for din, dout in KERNELS.values())
    assert before.argument_size_in_bytes - after.argument_size_in_bytes == kernels * 3 // 4
    # No device ever holds the full stack of blocks: it needs no more than the gathered kernels of one or two.
    assert after.temp_size_in_bytes - before.temp_size_in_bytes < kernels * 2 / DEPTH


@pytest.mark.parametrize("case", CASES)
def test_one_block_at_a_time_is_gathered_forwards_and_again_backwards(case):
    gathers = gathers_by_computation(trained(case, True).program.as_text())
    kind = "s8" if CASES[case].settings.backbone.quantize == "int8" else "f32"
    kernels = {f"{kind}[{din},{dout}]" for din, dout in KERNELS.values()}
    places = {where: shapes & kernels for where, shapes in gathers.items() if shapes & kernels}
    # Each gathers all of a block: the body of a loop over the blocks, or, for the last one, the code between.
    assert len(places) == CASES[case].passes + 1 and all(shapes == kernels for shapes in places.values())
    assert sum(where.startswith("body of ") for where in places) >= CASES[case].passes
    # And nothing gathers the kernels of several blocks.
    stacks = {f"{kind}[{DEPTH},{din},{dout}]" for din, dout in KERNELS.values()}
    assert not stacks & set().union(*gathers.values())


def gathers_by_computation(program: str) -> dict[str, set[str]]:
    """The arrays that a compiled program gathers, by computation; loop bodies are marked."""
    bodies = set(re.findall(r"body=%?([\w.\-]+)", program))
    found: dict[str, set[str]] = {}
    where = ""
    for line in program.splitlines():
        if begins := re.match(r"(?:ENTRY )?%?([\w.\-]+) .*\{$", line):
            where = f"body of {begins[1]}" if begins[1] in bodies else begins[1]
        elif gather := re.search(r"= (\w+\[[\d,]*\])\S* all-gather\(", line):
            found.setdefault(where, set()).add(gather[1])
    return found


def test_a_model_goes_from_the_host_straight_to_its_devices():
    settings = models.replace(models.config("lora"), "train", fsdp=8)
    params = jax.tree.map(np.asarray, vit.random_params(models.SPEC, models.SIZE, 0))
    frozen, _ = Recognizer(models.SPEC, settings, np.float32).init(params, None)
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(frozen))
    mesh = make_mesh(fsdp=8)
    model = build_model(models.replace(settings, "backbone", weights="builtin"), None, mesh)
    kernel = model.frozen["backbone"]["blocks"]["mlp"]["fc1"]["kernel"]
    assert kernel.sharding.shard_shape(kernel.shape) == (4, 128 // 8, 512)
    assert model.recognizer.mesh is mesh


def test_a_run_is_opened_over_the_devices_of_this_machine(tmp_path):
    settings = models.replace(models.config("none"), "backbone", weights="builtin", quantize="int8")
    write_run(tmp_path, models.replace(settings, "train", fsdp=4))
    model, _ = open_run(tmp_path, "latest", run_mesh(tmp_path))
    kernel = model.frozen["backbone"]["blocks"]["attn"]["proj"]["kernel"]
    assert (kernel.dtype, kernel.sharding.shard_shape(kernel.shape)) == (np.int8, (4, 128 // 4, 128))
    exact, _ = open_run(tmp_path, "latest", make_mesh(), quantize="none")
    kernel = exact.frozen["backbone"]["blocks"]["attn"]["proj"]["kernel"]
    assert (kernel.dtype, kernel.sharding.shard_shape(kernel.shape)) == (np.float32, (4, 128, 128))
    assert [here(fsdp) for fsdp in (1, 3, 4, 6, 16)] == [1, 1, 4, 2, 8]


@pytest.mark.parametrize(
    ("model", "fsdp", "words"),
    [
        (1, 3, r"train\.fsdp: 3 does not divide the 8 devices; choose a divisor"),
        (4, 2, r"train\.fsdp: 2 is not a multiple of train\.model_parallel 4.*; choose a multiple of 4"),
    ],
)
def test_devices_that_cannot_be_grouped_so_are_refused(model, fsdp, words):
    with pytest.raises(InputError, match=words):
        make_mesh(jax.devices(), model, fsdp)
