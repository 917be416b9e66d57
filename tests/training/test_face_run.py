"""Twenty steps of LoRA on a face ViT, against the same run on InsightFace's own code (tests/goldens/make_towers.py)."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from adaptface_jax.core import trees
from adaptface_jax.distributed.mesh import make_mesh, sharding
from adaptface_jax.losses.margin import init_statistics
from adaptface_jax.models.recognizer import Recognizer
from adaptface_jax.models.specs import BACKBONES
from adaptface_jax.training import optim
from adaptface_jax.training.recognition.loss import make_loss
from adaptface_jax.training.step import init_state, make_step
from adaptface_jax.weights.loading import load_backbone
from tests import made_models as models
from tests.made_towers import TINY

TORCH = "base_model.model.blocks.{block}.attn.{target}.lora_{factor}.default.weight"


@pytest.fixture
def run(goldens, monkeypatch):
    monkeypatch.setitem(BACKBONES, "tiny_face", TINY["tiny_face"])
    config = models.config("lora", targets=("qkv", "proj"))
    config = models.replace(config, "backbone", name="tiny_face", image_size=22)
    config = models.replace(config, "head", kind="auto")
    config = models.replace(config, "augment", flip=False)
    config = models.replace(
        config, "train", batch_size=8, learning_rate=1e-4, schedule="constant", weight_decay=0.05, clip_norm=None
    )
    with np.load(goldens / "face_run.npz") as arrays:
        arrays = dict(arrays)
    backbone = load_backbone(str(goldens / "backbones" / "tiny_face"), "tiny_face", 22)
    recognizer = Recognizer(backbone.spec, config, np.float32)
    frozen, trainable = recognizer.init(backbone.params, len(arrays["centers"]))
    return recognizer, frozen, trainable | {"centers": arrays["centers"], "adapter": adapter(arrays, "before")}, arrays


def adapter(arrays, when):
    """Our tree of torch's factors, A [r, in] and B [out, r] of each block."""

    def stacked(target, factor):
        names = (TORCH.format(block=block, target=target, factor=factor) for block in range(2))
        return np.stack([arrays[f"{when}:{name}"].T for name in names])

    return {target: {"a": stacked(target, "A"), "b": stacked(target, "B")} for target in ("qkv", "proj")}


def test_every_loss_and_the_final_adapter_agree(run):
    recognizer, frozen, trainable, arrays = run
    assert "head" not in trainable
    mesh = make_mesh(jax.devices()[:1])
    train = recognizer.config.train
    rate = optim.schedule(train, len(arrays["losses"]), len(arrays["losses"]))
    optimizer = optim.optimizer(train, rate)
    step = make_step(make_loss(recognizer, mesh), optimizer, rate, mesh, train.grad_accum)
    before = jax.tree.map(np.array, trainable)
    state = jax.device_put(init_state(trainable, optimizer, init_statistics()), sharding(mesh))
    placed = jax.device_put(frozen, sharding(mesh))
    losses = []
    with jax.default_matmul_precision("highest"):
        for image, label in zip(arrays["images"], arrays["labels"], strict=True):
            batch = models.batch(len(image)) | {"image": image, "label": label.astype(np.int32)}
            state, metrics = step(placed, state, jax.device_put(batch, sharding(mesh, "batch")), jax.random.key(0))
            losses.append(float(metrics["loss"]))
    np.testing.assert_allclose(losses, arrays["losses"], rtol=1e-5)
    ours, theirs, first = (trees.flatten(tree) for tree in (state.trainable["adapter"], adapter(arrays, "after"),
                                                            before["adapter"]))  # fmt: skip
    for path, factor in theirs.items():
        # The learned change, not only the shared initial values.
        assert np.linalg.norm(ours[path] - factor) <= 1e-2 * np.linalg.norm(factor - first[path]), path
