# SPDX-License-Identifier: Apache-2.0
"""One model as a pure function of images: what both graph formats export."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from adaptface_jax.core import trees
from adaptface_jax.core.errors import InputError
from adaptface_jax.data.augmentation.augment import preprocess as prepare
from adaptface_jax.export.example import normalized, script, stored
from adaptface_jax.losses.margin import unit
from adaptface_jax.models.recognizer import as_float32
from adaptface_jax.models.specs import ImageStats
from adaptface_jax.training.recognition.model import Model

INPUT = "images"
# Both formats keep everything in one file with 32-bit offsets; some space is left for the program itself.
LARGEST = 2**31 - 2**24


@dataclasses.dataclass(frozen=True)
class Graph:
    """function: `dtype` [B, *shape] -> {name: float32 [B, width]}, B free; outputs: name -> width.

    stats: of the normalized images.
    """

    function: Callable[[jax.Array], dict[str, jax.Array]]
    shape: tuple[int, int, int]
    dtype: Any
    outputs: dict[str, int]
    stats: ImageStats

    def describe(self) -> dict[str, Any]:
        """What goes in and comes out, for export.json."""
        pixels = "RGB, 0 to 255" if self.dtype == jnp.uint8 else "RGB / 255, then (x - mean) / std of each channel"
        given = {"name": INPUT, "dtype": jnp.dtype(self.dtype).name, "shape": ["batch", *self.shape], "pixels": pixels}
        return {
            "inputs": [given],
            "outputs": [
                {"name": name, "dtype": "float32", "shape": ["batch", width]} for name, width in self.outputs.items()
            ],
        }

    def page(self, title: str, imports: Sequence[str], code: str, remarks: str, *, least: int) -> str:
        """README.md: `code` runs the file on `images`, `least` or more, and puts the outputs into `result`, by name."""
        given = f"`{INPUT}` is {jnp.dtype(self.dtype).name} {['B', *self.shape]}".replace("'", "")
        outputs = ", ".join(f'`result["{name}"]` float32 [B, {width}]' for name, width in self.outputs.items())
        size = self.shape[0]
        made = normalized(INPUT, size, self.stats) if self.dtype == jnp.float32 else stored(INPUT, size)
        whole = f'{made}\n{code}\nprint(result["embedding"])'
        return f"""# {title}

{script(["import numpy as np", *imports], whole)}

{given}, RGB, {"normalized" if self.dtype == jnp.float32 else "as stored"}; B may be any number from {least} up.
Output: {outputs}. Rows of the embedding have length 1: the dot product of two is the cosine similarity of the faces.

{remarks}
"""


def make_graph(model: Model, *, preprocess: bool, input_size: int, loops: bool = True) -> Graph:
    """The embedding of `model` with its parameters folded in, float32 throughout; class centers are left out.

    Input: with `preprocess` uint8 [B, input_size, input_size, 3] RGB as stored (resized and normalized inside), else
    float32 [B, S, S, 3], normalized, at the image size S of the run. Output: `embedding`, rows of length 1, and
    for DA-LoRA `gates`, the weight of each expert. Matrix products keep float32's precision on every device. Without
    `loops` the blocks are unrolled in the graph, each with its own parameters.

    Raises InputError for an input size below 1 and for a model too large for one file.
    """
    if preprocess and input_size < 1:
        raise InputError(f"--input_size: {input_size} is not a size; expected pixels, such as 112")
    config = model.recognizer.config
    config = dataclasses.replace(config, backbone=dataclasses.replace(config.backbone, attention="whole"))
    recognizer = dataclasses.replace(model.recognizer, config=config, dtype=jnp.float32, written_out=not loops)
    parts = {name: tree for name, tree in model.trainable.items() if name != "centers"}
    frozen, trainable = jax.device_get(jax.tree.map(as_float32, (model.frozen, parts)))
    held = trees.nbytes((frozen, trainable))
    if held > LARGEST:
        raise InputError(
            f"--format: {held / 1e9:.1f} GB of parameters do not fit into one 2 GB file; use --format=merged"
        )
    size = recognizer.config.backbone.image_size

    def function(images: jax.Array) -> dict[str, jax.Array]:
        with jax.default_matmul_precision("highest"):
            if preprocess:
                images = prepare(images, size, recognizer.spec.stats, jnp.float32, exported=True)
            out = recognizer.embed(frozen, trainable, images)
            result = {"embedding": unit(out.embedding)}
            return result if out.gate is None else {**result, "gates": out.gate}

    outputs = {"embedding": recognizer.embedding_dim}
    if recognizer.num_domains:
        outputs["gates"] = recognizer.num_domains
    side = input_size if preprocess else size
    return Graph(function, (side, side, 3), jnp.uint8 if preprocess else jnp.float32, outputs, recognizer.spec.stats)
