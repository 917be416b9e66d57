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
from adaptface_jax.specs import backbone_spec

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


def huggingface_tensors(params: dict) -> dict[str, np.ndarray]:
    """Our parameter tree as float16 tensors under the names of transformers' Dinov2Model."""
    tensors: dict[str, np.ndarray] = {}

    def put(name: str, value: jax.Array) -> None:
        tensors[name] = np.ascontiguousarray(np.asarray(value, np.float16))

    patch, width = SPEC.patch_size, SPEC.width
    kernel = np.asarray(params["patch_embed"]["kernel"]).reshape(patch, patch, 3, width)
    put("embeddings.patch_embeddings.projection.weight", kernel.transpose(3, 2, 0, 1))
    put("embeddings.patch_embeddings.projection.bias", params["patch_embed"]["bias"])
    put("embeddings.cls_token", params["cls_token"])
    put("embeddings.mask_token", np.zeros((1, width)))
    put("embeddings.position_embeddings", params["pos_embed"])
    put("layernorm.weight", params["norm"]["scale"])
    put("layernorm.bias", params["norm"]["bias"])
    blocks = params["blocks"]
    for i in range(SPEC.depth):
        at = f"encoder.layer.{i}."
        for norm in ("norm1", "norm2"):
            put(f"{at}{norm}.weight", blocks[norm]["scale"][i])
            put(f"{at}{norm}.bias", blocks[norm]["bias"][i])
        for part, name in enumerate(("query", "key", "value")):
            columns = slice(part * width, (part + 1) * width)
            put(f"{at}attention.attention.{name}.weight", blocks["attn"]["qkv"]["kernel"][i][:, columns].T)
            put(f"{at}attention.attention.{name}.bias", blocks["attn"]["qkv"]["bias"][i][columns])
        dense = {"attention.output.dense": blocks["attn"]["proj"], "mlp.fc1": blocks["mlp"]["fc1"], "mlp.fc2": blocks["mlp"]["fc2"]}
        for name, layer in dense.items():
            put(f"{at}{name}.weight", layer["kernel"][i].T)
            put(f"{at}{name}.bias", layer["bias"][i])
        put(f"{at}layer_scale1.lambda1", blocks["scale1"]["gamma"][i])
        put(f"{at}layer_scale2.lambda1", blocks["scale2"]["gamma"][i])
    return tensors


def write_asset(params: dict, out: pathlib.Path) -> None:
    """model.safetensors and config.json, as `transformers` writes them."""
    out.mkdir(parents=True, exist_ok=True)
    save_file(huggingface_tensors(params), out / "model.safetensors", metadata={"format": "pt"})
    config = {
        "architectures": ["Dinov2Model"], "model_type": "dinov2", "hidden_size": SPEC.width,
        "num_hidden_layers": SPEC.depth, "num_attention_heads": SPEC.heads, "mlp_ratio": SPEC.mlp_width // SPEC.width,
        "image_size": SPEC.native_size, "patch_size": SPEC.patch_size, "num_channels": 3, "hidden_act": "gelu",
        "layer_norm_eps": SPEC.norm_eps, "qkv_bias": True, "layerscale_value": 1.0, "use_swiglu_ffn": False,
        "use_mask_token": True, "drop_path_rate": 0.0, "attention_probs_dropout_prob": 0.0,
        "hidden_dropout_prob": 0.0, "initializer_range": 0.02, "torch_dtype": "float16",
    }  # fmt: skip
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--identities", type=int, default=3200)
    parser.add_argument("--images", type=int, default=12)
    parser.add_argument("--steps", type=int, default=2500)
    parser.add_argument("--batch", type=int, default=96)
    parser.add_argument("--learning_rate", type=float, default=1.5e-3)
    parser.add_argument("--full_from", type=float, default=0.8, help="share of the steps that see only KEEP patches")
    parser.add_argument("--margin", type=float, default=0.3)
    parser.add_argument("--scale", type=float, default=32.0)
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
    graph, _ = definition(SPEC, SIZE)
    part_graph, _ = nnx.split(nnx.eval_shape(lambda: PatchDropout(SPEC, SIZE, rngs=nnx.Rngs(0))))
    params = {
        "vit": random_params(SPEC, SIZE, 0),
        "centres": 0.1 * jax.random.normal(jax.random.key(1), (args.identities, SPEC.width)),
    }
    schedule = optax.warmup_cosine_decay_schedule(0, args.learning_rate, args.steps // 15, args.steps, 1e-6)
    decay = jax.tree.map(lambda p: p.ndim > 1, params)
    optimizer = optax.chain(optax.clip_by_global_norm(3.0), optax.adamw(schedule, weight_decay=0.05, mask=decay))

    @functools.partial(jax.jit, static_argnums=5, donate_argnums=(0, 1))
    def step(params, state, images, labels, i, part):
        first, second = jax.random.split(jax.random.fold_in(jax.random.key(2), i))
        x = augment(images, first)

        def loss_of(params):
            if part:
                feature = nnx.merge(part_graph, params["vit"])((x, second)).feature
            else:
                feature = nnx.merge(graph, params["vit"])(x).feature
            unit = lambda a: a / (jnp.linalg.norm(a, axis=-1, keepdims=True) + 1e-6)  # noqa: E731
            cosine = unit(feature) @ unit(params["centres"]).T
            margin = args.margin * jnp.minimum(1.0, i / (0.4 * args.steps))
            logits = args.scale * (cosine - margin * jax.nn.one_hot(labels, cosine.shape[1]))
            right = jnp.mean(jnp.argmax(cosine, 1) == labels)
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean(), right

        (loss, right), grads = jax.value_and_grad(loss_of, has_aux=True)(params)
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state, loss, right

    state, rng, start, order = optimizer.init(params), np.random.default_rng(3), time.time(), np.zeros(0, int)
    losses = []
    for i in range(args.steps):
        if len(order) < args.batch:
            order = rng.permutation(count)
        rows, order = np.sort(order[: args.batch]), order[args.batch :]
        part = i < args.full_from * args.steps
        params, state, loss, right = step(params, state, np.asarray(pool[rows]), rows // args.images, i, part)
        losses.append((float(loss), float(right)))
        if (i + 1) % 50 == 0 or i + 1 == args.steps:
            mean = np.mean(losses[-50:], axis=0)
            rate = (i + 1) * args.batch / (time.time() - start)
            print(f"step {i + 1}  loss {mean[0]:.3f}  accuracy {mean[1]:.3f}  {rate:.0f} images/s", flush=True)
            write_asset(params["vit"], args.out)


if __name__ == "__main__":
    main()
