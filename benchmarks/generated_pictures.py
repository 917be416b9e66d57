# SPDX-License-Identifier: Apache-2.0
"""Pictures of generated people at one size, rendered once and kept, and the same made worse."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from small_trainings import stored

from adaptface_jax.data.augmentation.quality import blurred, levels, shrunk
from adaptface_jax.data.benchmarks.benchmark import Benchmark
from adaptface_jax.data.benchmarks.from_path import open_benchmark
from adaptface_jax.data.sources.from_path import open_form


@dataclasses.dataclass(frozen=True)
class Worse:
    """How bad a picture becomes, drawn for each, uniformly: its side as a fraction of what it was, and the standard
    deviation of the blur before that, in pixels of the rendered picture."""

    sides: tuple[float, float]
    blurs: tuple[float, float]

    def __call__(self, images: np.ndarray, seed: int) -> np.ndarray:
        """uint8 [N, S, S, 3] -> the same shape."""
        rng, size = np.random.default_rng(seed), images.shape[1]
        shares, sigmas = (rng.uniform(*ends, len(images)).astype(np.float32) for ends in (self.sides, self.blurs))

        @jax.jit
        @jax.vmap
        def worse(image: jax.Array, share: jax.Array, sigma: jax.Array) -> jax.Array:
            axis = shrunk(size, share) @ blurred(size, sigma)
            return levels(jnp.einsum("ij,jkc,lk->ilc", axis, image.astype(jnp.float32), axis))

        parts = np.array_split(np.arange(len(images)), max(1, len(images) // 100))
        return np.concatenate([np.asarray(worse(images[part], shares[part], sigmas[part])) for part in parts])


def people(identities: int, images: int, seed: int) -> str:
    """As `data.train` names them."""
    return f"synthetic:identities={identities},images={images},seed={seed},labels=none"


def pictures(spec: str, worse: Worse | None, pixels: int, work: Path) -> tuple[np.ndarray, np.ndarray]:
    """uint8 [N, pixels, pixels, 3] and whose they are, int32 [N]. worse: what becomes of them, as rendered."""
    source = open_form(spec)
    file = _rendered(spec, work)
    if not file.exists():
        np.save(file, np.stack([source[i].image for i in range(len(source))]))
    images = np.load(file, mmap_mode="r")
    return stored(images if worse is None else worse(images, 1), pixels), source.labels


def benchmark(spec: str, worse: Worse, pixels: int, work: Path) -> tuple[Benchmark, dict[str, np.ndarray]]:
    """The pairs, and their images as rendered (`original`) and made worse (`hard`): uint8 [M, pixels, pixels, 3]."""
    file = _rendered(spec, work).with_suffix(".npz")
    if not file.exists():
        made = open_benchmark(spec)
        images = [np.asarray(image) for image in made.images]
        np.savez(file, images=images, index=made.index, issame=made.issame, person=np.asarray(made.person))
    with np.load(file) as kept:
        rendered = kept["images"]
        pairs = Benchmark([], kept["index"], kept["issame"], spec, person=kept["person"])
    return pairs, {"original": stored(rendered, pixels), "hard": stored(worse(rendered, 2), pixels)}


def _rendered(spec: str, work: Path) -> Path:
    return work / (spec.partition(":")[2].replace("=", "").replace(",", "_") + ".npy")
