# SPDX-License-Identifier: Apache-2.0
"""A small face ViT in InsightFace's layout, trained from random weights on generated people.

    python benchmarks/face_vit.py --work=/tmp/forgetting

No class token, ReLU6, no biases on queries, keys and values, all tokens into the two BatchNorms of the head: a row of
`models.specs` at 56 px. CosFace and full fine-tuning of this package. It starts where a narrow network learns quickly:
patches whitened by those of real pictures, kernels that keep the variance, the head's moments those of its first
features. Kept as WORK/face_vit.npz; it does not come with the package.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from generated_pictures import people, pictures
from small_trainings import trained

from adaptface_jax.config import defaults
from adaptface_jax.config.overrides import freeze
from adaptface_jax.config.schema import Config
from adaptface_jax.core import trees
from adaptface_jax.data.augmentation.augment import preprocess
from adaptface_jax.distributed.mesh import make_mesh, place
from adaptface_jax.models.recognizer import Recognizer
from adaptface_jax.models.specs import backbone_spec
from adaptface_jax.models.vit import definition, random_params
from adaptface_jax.training.recognition.model import Model

NAME = "insightface_vitt9"  # of which this is a smaller one
SPEC = dataclasses.replace(
    backbone_spec(NAME), width=128, depth=4, heads=4, mlp_width=512, patch_size=14, native_size=56
)
PIXELS = SPEC.native_size
PEOPLE = people(1400, 6, 11)
FILE = "face_vit.npz"


def configuration(changes: dict[str, Any]) -> Config:
    """Settings, of those that all trainings here share and `changes` (name -> value)."""
    config = defaults()
    config.backbone.name, config.backbone.image_size = NAME, PIXELS
    config.loss.scale, config.loss.margin = 32.0, 0.2
    config.augment.shift = 0.05
    config.train.batch_size, config.train.warmup_steps = 64, 20
    config.update_from_flattened_dict(changes)
    frozen = freeze(config)
    assert isinstance(frozen, Config)
    return frozen


def model_of(config: Config, params: Any, classes: int, mesh: jax.sharding.Mesh) -> Model:
    """A fresh model on the backbone's parameters."""
    recognizer = Recognizer(SPEC, config, jnp.float32)
    frozen, trainable = recognizer.init(params, classes)
    return Model(recognizer, place(mesh, frozen), place(mesh, trainable), {}, stored_size=PIXELS)


def initial(images: np.ndarray, seed: int) -> dict[str, Any]:
    """Parameters to start from. images: uint8 [N, S, S, 3], a few hundred."""
    rng, params = np.random.default_rng(seed), jax.device_get(random_params(SPEC, PIXELS, seed))
    seen, patch, grid = preprocess(images, PIXELS, SPEC.stats, jnp.float32), SPEC.patch_size, SPEC.native_grid
    cut = np.asarray(seen).reshape(-1, grid, patch, grid, patch, 3).transpose(0, 1, 3, 2, 4, 5)
    cut = cut.reshape(-1, patch * patch * 3)
    value, vector = np.linalg.eigh(np.cov(cut.T))
    value, vector = value[::-1][: SPEC.width], vector[:, ::-1][:, : SPEC.width]
    mixing = np.linalg.qr(rng.standard_normal((SPEC.width, SPEC.width)))[0]
    kernel = 0.7 * (vector / np.sqrt(value + 0.002 * value[0])) @ mixing
    params["patch_embed"] = {"kernel": np.float32(kernel), "bias": np.float32(-cut.mean(0) @ kernel)}
    params["pos_embed"] = np.float32(0.5 * rng.standard_normal(params["pos_embed"].shape))
    flat = trees.flatten(params)
    for path, leaf in flat.items():
        if path.endswith("kernel") and "patch_embed" not in path:  # 0.02 suits a network six times as wide
            flat[path] = np.float32(leaf / leaf.std() / leaf.shape[-2] ** 0.5)
    params = trees.unflatten(flat)
    model = nnx.merge(definition(SPEC, PIXELS)[0], params)
    pool, tokens = params["pool"], model.norm(model(seen, return_blocks=True).blocks[-1])
    x = np.asarray(tokens).reshape(len(images), -1)
    for layer, norm in (("fc1", "norm1"), ("fc2", "norm2")):
        x = x @ pool[layer]["kernel"]
        pool[norm] |= {"mean": x.mean(0), "var": x.var(0)}
        x = (x - x.mean(0)) / x.std(0)
    return params


def face_model(work: Path) -> dict[str, Any]:
    """Its parameters, as `main` kept them."""
    with np.load(work / FILE) as file:
        return trees.unflatten(dict(file))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=3600)
    parser.add_argument("--learning_rate", type=float, default=1e-3)
    parser.add_argument("--work", type=Path, required=True, help="pictures and the face model are kept here")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    images, labels = pictures(PEOPLE, None, PIXELS, args.work)
    config = configuration(
        {
            "adapter.kind": "full", "train.steps": args.steps, "train.learning_rate": args.learning_rate,
            "train.warmup_steps": 100, "train.clip_norm": 1.0,
        }
    )  # fmt: skip
    chosen = np.random.default_rng(0).choice(len(images), 400, replace=False)
    mesh, begun = make_mesh(), time.monotonic()
    model = model_of(config, initial(images[chosen], 0), int(labels.max()) + 1, mesh)
    after = jax.device_get(trained(model, mesh, config, images, labels, told=50)["backbone"])
    np.savez(args.work / FILE, **trees.flatten(after))
    print(f"{args.steps} steps in {time.monotonic() - begun:.0f} s", flush=True)


if __name__ == "__main__":
    main()
