"""Twenty steps of a small classifier on synthetic batches, as this project runs them."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from adaptface_jax.config.classification import AugmentConfig, ModelConfig
from adaptface_jax.config.schema import LoopConfig
from adaptface_jax.core import trees
from adaptface_jax.distributed.mesh import make_mesh, sharding
from adaptface_jax.models.classifier import Classifier
from adaptface_jax.models.layers.dropout import dropout
from adaptface_jax.models.specs import ImageStats
from adaptface_jax.training import optim
from adaptface_jax.training.classification.loss import make_loss
from adaptface_jax.training.step import init_state, make_step

STEPS, BATCH, SIZE, OUTPUTS = 20, 8, 16, 5
STATS = ImageStats((0.48, 0.45, 0.40), (0.28, 0.27, 0.28))
CNN = ModelConfig(name="cnn", image_size=SIZE, width=8, channels_block3=24, dropout=0.3)
RESNET = ModelConfig(name="resnet", image_size=SIZE, width=8, blocks=(2, 1, 1), dropout=0.2)
CASES = {
    "cnn": CNN,
    "resnet": RESNET,
    "resnet_gelu_plain": dataclasses.replace(RESNET, activation="gelu", batch_norm=False),
    "resnet_selu_unresidual": dataclasses.replace(RESNET, activation="selu", residual=False),
    "resnet_leaky": dataclasses.replace(RESNET, activation="leaky"),
    "resnet_elu": dataclasses.replace(RESNET, activation="elu"),
}
TRAIN = LoopConfig(
    optimizer="adam", learning_rate=1e-4, weight_decay=1e-4, schedule="constant", batch_size=BATCH, steps=STEPS
)
GOLDEN = dataclasses.replace(TRAIN, optimizer="sgd", learning_rate=1e-3, weight_decay=1e-3)
KEY = 7


def made(model: ModelConfig, seed: int = 0):
    """(parameters, moments) with scales, biases and moments away from their initial values; a flat dictionary each."""
    rng = np.random.default_rng(seed)
    params, moments = Classifier(model, OUTPUTS, jnp.float32).init(seed)

    def changed(path, leaf):
        leaf = np.asarray(leaf)
        if path.endswith(("scale", "var")):
            return (1 + 0.3 * rng.random(leaf.shape)).astype(np.float32)
        return (leaf + 0.1 * rng.normal(size=leaf.shape)).astype(np.float32)

    def of(tree):
        return {path: changed(path, leaf) for path, leaf in trees.flatten(tree).items()}

    return of(params), of(moments)


def batches(model: ModelConfig, seed: int = 1):
    """STEPS batches: attributes for the CNN, classes for the residual network."""
    rng = np.random.default_rng(seed)
    shape = (BATCH, OUTPUTS) if model.name == "cnn" else (BATCH,)
    return [
        {
            "image": rng.integers(0, 256, (BATCH, SIZE, SIZE, 3), dtype=np.uint8),
            "label": rng.integers(0, 2 if model.name == "cnn" else OUTPUTS, shape, dtype=np.int32),
            "weight": np.ones(BATCH, np.float32),
        }
        for _ in range(STEPS)
    ]


def masks(model: ModelConfig, step: int):
    """What each dropout multiplies by in that step, in order: [B, C] in the CNN, [B, 1, 1, C] for each block."""
    key = jax.random.split(jax.random.fold_in(jax.random.key(KEY), step))[1]
    if model.name == "cnn":
        return [np.array(dropout(jnp.ones((BATCH, model.channels_block3)), model.dropout, key))]
    widths = [model.width * 2**stage for stage, count in enumerate(model.blocks) for _ in range(count)]
    return [
        np.array(dropout(jnp.ones((BATCH, 1, 1, width)), model.dropout, jax.random.fold_in(key, i)))
        for i, width in enumerate(widths)
    ]


def run(model: ModelConfig, train: LoopConfig = TRAIN, devices: int = 1, by_image: bool = True):
    """(losses, parameters, moments) after STEPS steps from `made`, and the logits of the last batch in use."""
    mesh = make_mesh(jax.devices()[:devices])
    classifier = Classifier(model, OUTPUTS, jnp.float32, by_image)
    params, moments = (trees.unflatten(flat) for flat in made(model))
    rate = optim.schedule(train, STEPS, STEPS)
    optimizer = optim.optimizer(train, rate)
    loss = make_loss(classifier, AugmentConfig(flip=False), STATS)
    step = make_step(loss, optimizer, rate, mesh, train.grad_accum)
    everywhere = sharding(mesh)
    state = jax.device_put(init_state(jax.tree.map(jnp.array, params), optimizer, moments), everywhere)
    losses = []
    with jax.default_matmul_precision("highest"):
        for batch in batches(model):
            rows = jax.device_put(batch, sharding(mesh, "batch"))
            state, metrics = step({}, state, rows, jax.device_put(jax.random.key(KEY), everywhere))
            losses.append(float(metrics["loss"]))
        images = normalized(batches(model)[-1]["image"])
        logits, _ = classifier.logits(*jax.device_get((state.trainable, state.statistics)), jnp.asarray(images))
    return {
        "losses": np.array(losses),
        "params": {path: np.asarray(leaf) for path, leaf in trees.flatten(state.trainable).items()},
        "moments": {path: np.asarray(leaf) for path, leaf in trees.flatten(state.statistics).items()},
        "logits": np.asarray(logits),
    }


def normalized(images):
    """float32 [B, S, S, 3]."""
    return ((images / 255 - np.array(STATS.mean)) / np.array(STATS.std)).astype(np.float32)
