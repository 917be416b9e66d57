"""Train the packaged `demo` backbone on generated faces and write it in the Hugging Face Dinov2 layout.

    python tools/train_demo_backbone.py --minutes 35 --out adaptface_jax/assets/demo_backbone

Identities come from a seed of their own (RESERVED_SEED), which `synthetic:` refuses, and every picture is an ordinary
one: no strong pose, age or light. That is what the demo is left to learn.
"""

from __future__ import annotations

import argparse
import functools
import json
import pathlib
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from safetensors.numpy import save_file

from adaptface_jax.backbones.vit import ViT, definition, random_params
from adaptface_jax.data.faces.generate import RESERVED_SEED, Population
from adaptface_jax.data.faces.traits import HAIR_STYLES
from adaptface_jax.nn.linear import init_linear, linear
from adaptface_jax.specs import backbone_spec
from adaptface_jax.weights.engine import to_names
from adaptface_jax.weights.tables import TABLES

SPEC = backbone_spec("demo")
SIZE = SPEC.native_size
KEEP = 32


class PatchDropout(ViT):
    """Sees KEEP random patches, others for each image (arXiv 2212.00794): the cost falls with their number."""

    def tokens(self, images: tuple[jax.Array, jax.Array]) -> jax.Array:
        """(images, key) -> the class token and the kept patches, [B, 1 + KEEP, D]."""
        x = super().tokens(images[0])
        order = jnp.argsort(jax.random.uniform(images[1], (x.shape[0], x.shape[1] - 1)), axis=1)[:, :KEEP] + 1
        return jnp.concatenate([x[:, :1], jnp.take_along_axis(x, order[..., None], axis=1)], axis=1)


def _resample(axis: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
    """Random shift, scale and blur of one axis as matrices [B, SIZE, SIZE]; scale and blur are shared by both axes."""
    shift, scale, blur = axis
    at = (jnp.arange(SIZE) - SIZE / 2)[None] / scale[:, None] + SIZE / 2 + shift[:, None]
    weight = jnp.maximum(0, 1 - jnp.abs(at[:, :, None] - jnp.arange(SIZE)[None, None]) / blur[:, None, None])
    return weight / jnp.maximum(weight.sum(-1, keepdims=True), 1e-3)


def augment(images: jax.Array, key: jax.Array) -> jax.Array:
    """uint8 [B, S, S, 3] -> normalised float32 with shift, scale, blur, flip, light, colour, noise and erasing."""
    batch = images.shape[0]
    keys = iter(jax.random.split(key, 24))

    def uniform(low: float, high: float, *shape: int) -> jax.Array:
        return jax.random.uniform(next(keys), (batch, *shape), minval=low, maxval=high)

    x = images.astype(jnp.float32) / 255
    scale, blur = uniform(0.88, 1.3), jnp.maximum(1.0, uniform(0.2, 2.4))
    stretch = uniform(0.9, 1.1)
    rows = _resample((uniform(-7, 7), scale * stretch, blur))
    columns = _resample((uniform(-7, 7), scale / stretch, blur))
    x = jnp.einsum("bij,bjkc->bikc", rows, x)
    x = jnp.einsum("bij,bkjc->bkic", columns, x)
    x = jnp.where(uniform(0, 1, 1, 1, 1) < 0.5, x[:, :, ::-1], x)
    axis = jnp.linspace(-1, 1, SIZE)
    slope = uniform(-0.5, 0.5, 1, 1) * axis[None, :, None] + uniform(-0.7, 0.7, 1, 1) * axis[None, None, :]
    x = x * jnp.exp(slope)[..., None] * jnp.exp(uniform(-0.35, 0.35, 1, 1, 1)) * uniform(0.85, 1.15, 1, 1, 3)
    grey = jnp.sum(x * jnp.array([0.299, 0.587, 0.114]), -1, keepdims=True)
    x = jnp.where(uniform(0, 1, 1, 1, 1) < 0.4, grey, x)
    x = jnp.clip(x, 0.003, 1.3) ** jnp.exp(uniform(-0.35, 0.35, 1, 1, 1))
    x = (x - 0.45) * uniform(0.75, 1.3, 1, 1, 1) + 0.45
    x = x + jax.random.normal(next(keys), x.shape) * uniform(0, 0.03, 1, 1, 1)
    top, left, high, wide = uniform(-1, 1, 1), uniform(-1, 1, 1), uniform(0.1, 0.35, 1), uniform(0.1, 0.35, 1)
    hole = (jnp.abs(axis[None] - top) < high)[:, :, None] & (jnp.abs(axis[None] - left) < wide)[:, None, :]
    x = jnp.where((hole & (uniform(0, 1, 1, 1) < 0.5))[..., None], uniform(0, 1, 1, 1, 1), x)
    return (jnp.clip(x, 0, 1) - jnp.array(SPEC.stats.mean)) / jnp.array(SPEC.stats.std)


def write_asset(params: dict, out: pathlib.Path) -> None:
    """model.safetensors and config.json, as `transformers` writes them."""
    out.mkdir(parents=True, exist_ok=True)
    table = next(table for table in TABLES if table.name == "hf_dinov2")
    tensors = to_names(table, SPEC, jax.device_get(params)) | {"embeddings.mask_token": np.zeros((1, SPEC.width))}
    save_file({k: v.astype(np.float16) for k, v in tensors.items()}, out / "model.safetensors", metadata={"format": "pt"})
    config = {
        "architectures": ["Dinov2Model"], "model_type": "dinov2", "hidden_size": SPEC.width,
        "num_hidden_layers": SPEC.depth, "num_attention_heads": SPEC.heads, "mlp_ratio": SPEC.mlp_width // SPEC.width,
        "image_size": SPEC.native_size, "patch_size": SPEC.patch_size, "num_channels": 3, "hidden_act": "gelu",
        "layer_norm_eps": SPEC.norm_eps, "qkv_bias": True, "layerscale_value": 1.0, "use_swiglu_ffn": False,
        "use_mask_token": True, "drop_path_rate": 0.0, "attention_probs_dropout_prob": 0.0,
        "hidden_dropout_prob": 0.0, "initializer_range": 0.02, "torch_dtype": "float16",
    }  # fmt: skip
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def trait_targets(identities: int) -> np.ndarray:
    """What every person is, as standardised numbers: float32 [identities, T]."""
    rows = []
    for identity in range(identities):
        t = Population(RESERVED_SEED).traits(identity)
        style = [4.0 * (t.hair_style == name) for name in HAIR_STYLES]
        worn = [2 * t.beard, 2 * t.moustache, 2 * t.glasses, t.glasses_tone * t.glasses]
        rows.append([*t.shape.values(), *(3 * t.skin), *(3 * t.hair), *t.eyes, *style, *worn])
    values = np.float32(rows)
    return (values - values.mean(0)) / (values.std(0) + 1e-6)


def initial(seed: int) -> dict:
    """Random parameters scaled for a narrow network: kernels of variance 1/in, positions that can be told apart."""

    def rescale(path: tuple, value: jax.Array) -> jax.Array:
        name = path[-1].key
        if name == "kernel":
            return value / 0.0176 / value.shape[-2] ** 0.5
        return value * 10 if name in ("pos_embed", "cls_token") else value

    return jax.tree_util.tree_map_with_path(rescale, random_params(SPEC, SIZE, seed))


def unit(x: jax.Array) -> jax.Array:
    return x / (jnp.linalg.norm(x, axis=-1, keepdims=True) + 1e-6)


def contrast(feature: jax.Array, temperature: float) -> tuple[jax.Array, jax.Array]:
    """Rows i and i + B/2 are one person: the cross-entropy of finding each other (arXiv 2002.05709), and how often."""
    half = feature.shape[0] // 2
    cosine = unit(feature) @ unit(feature).T - 9.0 * jnp.eye(2 * half)
    other = jnp.roll(jnp.arange(2 * half), half)
    loss = optax.softmax_cross_entropy_with_integer_labels(cosine / temperature, other).mean()
    return loss, jnp.mean(jnp.argmax(cosine, axis=1) == other)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--identities", type=int, default=3200)
    parser.add_argument("--images", type=int, default=12)
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--batch", type=int, default=96)
    parser.add_argument("--learning_rate", type=float, default=1e-3)
    parser.add_argument("--part", type=float, default=0.85, help="share of the steps that see only KEEP patches")
    parser.add_argument("--temperature", type=float, default=0.1)
    parser.add_argument("--pool", type=pathlib.Path, help="render once to this .npy and reuse it")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    args = parser.parse_args()

    count = args.identities * args.images
    if args.pool and args.pool.exists():
        pool = np.load(args.pool, mmap_mode="r")[:count]
    else:
        people = Population(RESERVED_SEED, ordinary=True)
        pool = np.stack([people.picture(i // args.images, i % args.images)[0] for i in range(count)])
        if args.pool:
            np.save(args.pool, pool)
    targets = trait_targets(args.identities)
    graph, _ = definition(SPEC, SIZE)
    part_graph, _ = nnx.split(nnx.eval_shape(lambda: PatchDropout(SPEC, SIZE, rngs=nnx.Rngs(0))))
    params = {"vit": initial(0), "traits": init_linear(jax.random.key(1), SPEC.width, targets.shape[1])}
    schedule = optax.warmup_cosine_decay_schedule(0, args.learning_rate, args.steps // 20, args.steps, 1e-6)
    decay = jax.tree.map(lambda p: p.ndim > 1, params)
    optimizer = optax.chain(optax.clip_by_global_norm(3.0), optax.adamw(schedule, weight_decay=0.05, mask=decay))

    @functools.partial(jax.jit, static_argnums=5, donate_argnums=(0, 1))
    def step(params, state, images, wanted, i, part):
        first, second = jax.random.split(jax.random.fold_in(jax.random.key(2), i))
        x = augment(images, first)

        def loss_of(params):
            if part:
                feature = nnx.merge(part_graph, params["vit"])((x, second)).feature
            else:
                feature = nnx.merge(graph, params["vit"])(x).feature
            told = jnp.mean(jnp.square(linear(params["traits"], feature) - wanted))
            found, right = contrast(feature, args.temperature)
            return found + 2 * told, jnp.stack([found, told, right])

        (_, report), grads = jax.value_and_grad(loss_of, has_aux=True)(params)
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state, report

    state, rng, start, reports = optimizer.init(params), np.random.default_rng(3), time.time(), []
    for i in range(args.steps):
        people = rng.choice(args.identities, args.batch // 2, replace=False)
        pictures = np.stack([rng.choice(args.images, 2, replace=False) for _ in people], axis=1)
        rows = (people * args.images + pictures).ravel()
        wanted = np.tile(targets[people], (2, 1))
        params, state, report = step(params, state, pool[rows], wanted, i, i < args.part * args.steps)
        reports.append(report)
        if (i + 1) % 50 == 0 or i + 1 == args.steps:
            found, told, right = np.mean(jax.device_get(reports[-50:]), axis=0)
            rate = (i + 1) * args.batch / (time.time() - start)
            print(f"step {i + 1}  contrast {found:.3f}  traits {told:.3f}  found {right:.3f}  {rate:.0f} images/s", flush=True)
            write_asset(params["vit"], args.out)


if __name__ == "__main__":
    main()
