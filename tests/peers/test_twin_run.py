"""The same run twice: LoRA + CosFace under AdamW here and in transformers + PEFT, step by step.

Both start from the same backbone, adapter, head and centers and see the same batches in the same order, float32.
"""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import pytest

from adaptface_jax.core import trees
from adaptface_jax.distributed.mesh import make_mesh, sharding
from adaptface_jax.losses.margin import init_statistics
from adaptface_jax.training import optim
from adaptface_jax.training.recognition.loss import make_loss
from adaptface_jax.training.step import init_state, make_step
from adaptface_jax.weights.names import engine
from adaptface_jax.weights.names.dialects import TABLES
from tests import made_models as models

pytestmark = [
    pytest.mark.peers,
    # PEFT still uses a deprecated transformers name.
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning"),
]
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
peft = pytest.importorskip("peft")

STEPS, CLASSES, BATCH = 20, 10, 16
# Our target -> the layer in transformers' DINOv2, 5.18 and later, and before.
LAYERS = {
    "q": ("attention.q_proj", "attention.attention.query"),
    "k": ("attention.k_proj", "attention.attention.key"),
    "v": ("attention.v_proj", "attention.attention.value"),
    "proj": ("attention.o_proj", "attention.output.dense"),
    "fc1": ("mlp.fc1",),
    "fc2": ("mlp.fc2",),
}


@pytest.fixture(scope="module")
def settings():
    config = models.config("lora", targets=tuple(LAYERS), use_rslora=True)
    config = models.replace(config, "augment", flip=False)
    config = models.replace(config, "backbone", train_patch_embed=True)
    return models.replace(config, "train", learning_rate=1e-4, schedule="constant", weight_decay=0.05, clip_norm=5.0)


@pytest.fixture(scope="module")
def batches():
    made = [models.batch(BATCH, CLASSES, seed) for seed in range(STEPS)]
    return [batch | {"image": batch["image"][:, : models.SIZE, : models.SIZE]} for batch in made]


@pytest.fixture(scope="module")
def ours(settings, batches):
    """(initial trainable tree, frozen tree, final trainable tree, losses, gradient norms)."""
    mesh = make_mesh()
    recognizer, frozen, trainable = models.build(settings, CLASSES)
    trainable["adapter"] = models.made(trainable["adapter"], seed=1)
    rate = optim.schedule(settings.train, STEPS, STEPS)
    optimizer = optim.optimizer(settings.train, rate)
    step = make_step(make_loss(recognizer, mesh), optimizer, rate, mesh, recognizer.config.train.grad_accum)
    initial, frozen = jax.tree.map(np.array, (trainable, frozen))
    state = jax.device_put(init_state(trainable, optimizer, init_statistics()), sharding(mesh))
    placed = jax.device_put(frozen, sharding(mesh))
    losses, norms = [], []
    with jax.default_matmul_precision("highest"):
        for batch in batches:
            rows = jax.device_put(batch, sharding(mesh, "batch"))
            state, metrics = step(placed, state, rows, jax.random.key(0))
            losses.append(float(metrics["loss"]))
            norms.append(float(metrics["grad_norm"]))
    return initial, frozen, jax.tree.map(np.array, state.trainable), losses, norms


class Twin(torch.nn.Module):
    """transformers' DINOv2 under PEFT's LoRA, a linear head, unit centers."""

    def __init__(self, settings, frozen, trainable):
        super().__init__()
        spec, adapter = models.SPEC, settings.adapter
        config = transformers.Dinov2WithRegistersConfig(
            hidden_size=spec.width, num_hidden_layers=spec.depth, num_attention_heads=spec.heads,
            mlp_ratio=spec.mlp_width // spec.width, image_size=models.SIZE, patch_size=spec.patch_size,
            num_register_tokens=spec.registers, attn_implementation="eager",
        )  # fmt: skip
        backbone = transformers.Dinov2WithRegistersModel(config)
        at_size = dataclasses.replace(spec, native_size=models.SIZE)
        names = engine.to_names(
            next(table for table in TABLES if table.name == "hf_dinov2"), at_size, frozen["backbone"]
        )
        tensors = {name: torch.from_numpy(np.array(tensor)) for name, tensor in names.items()}
        self.load(backbone, tensors)
        lora = peft.LoraConfig(
            r=adapter.rank, lora_alpha=adapter.alpha, use_rslora=adapter.use_rslora,
            target_modules=[layer for layers in LAYERS.values() for layer in layers],
        )  # fmt: skip
        self.backbone = peft.get_peft_model(backbone, lora)
        self.layers = {
            (target, i): next(
                module
                for name, module in self.backbone.named_modules()
                if name.endswith(tuple(f".{i}.{layer}" for layer in layers))
                and isinstance(module, peft.tuners.lora.LoraLayer)
            )
            for target, layers in LAYERS.items()
            for i in range(spec.depth)
        }
        patches = backbone.embeddings.patch_embeddings.projection
        patches.requires_grad_(True)
        self.head = torch.nn.Linear(spec.width, settings.head.embedding_dim)
        self.centers = torch.nn.Parameter(torch.from_numpy(np.array(trainable["centers"])))
        with torch.no_grad():
            for (target, i), layer in self.layers.items():
                factor = trainable["adapter"][target]
                layer.lora_A["default"].weight.copy_(torch.from_numpy(factor["a"][i].T.copy()))
                layer.lora_B["default"].weight.copy_(torch.from_numpy(factor["b"][i].T.copy()))
            self.head.weight.copy_(torch.from_numpy(trainable["head"]["kernel"].T.copy()))
            self.head.bias.copy_(torch.from_numpy(trainable["head"]["bias"].copy()))

    @staticmethod
    def load(backbone, tensors):
        """The disk names, through the model's own loading, which knows both module layouts."""
        state, missing = backbone.state_dict(), {"embeddings.mask_token"}
        renamed = {new(name, state): tensor for name, tensor in tensors.items()}
        result = backbone.load_state_dict(renamed, strict=False)
        assert set(result.missing_keys) <= missing
        assert not result.unexpected_keys

    def forward(self, batch, settings):
        stats = models.SPEC.stats
        pixels = (batch["image"].astype(np.float32) / 255 - np.float32(stats.mean)) / np.float32(stats.std)
        images = torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))
        feature = self.backbone(pixel_values=images).pooler_output
        unit = torch.nn.functional.normalize
        cosine = unit(self.head(feature)) @ unit(self.centers).T
        labels = torch.from_numpy(batch["label"]).long()
        margin = settings.loss.margin * torch.nn.functional.one_hot(labels, CLASSES)
        return torch.nn.functional.cross_entropy(settings.loss.scale * (cosine - margin), labels)


def new(name, state):
    """The name of a tensor in the installed version's modules."""
    if name in state:
        return name
    parts = {"attention.attention.query": "q", "attention.attention.key": "k", "attention.attention.value": "v"}
    for old, letter in (parts | {"attention.output.dense": "o"}).items():
        name = name.replace(old, f"attention.{letter}_proj")
    return name


@pytest.fixture(scope="module")
def theirs(settings, batches, ours):
    """(the trained twin, losses, gradient norms)."""
    initial, frozen, *_ = ours
    twin = Twin(settings, frozen, initial).train()
    trained = {name: p for name, p in twin.named_parameters() if p.requires_grad}
    decayed = [p for name, p in trained.items() if not name.endswith("bias")]
    plain = [p for name, p in trained.items() if name.endswith("bias")]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0.0}], lr=1e-4
    )
    losses, norms = [], []
    for batch in batches:
        optimizer.zero_grad()
        loss = twin(batch, settings)
        loss.backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_(trained.values(), 5.0)))
        optimizer.step()
        losses.append(float(loss.detach()))
    return twin, losses, norms


def test_the_same_parameters_train(ours, theirs):
    twin = theirs[0]
    trained = sum(p.numel() for p in twin.parameters() if p.requires_grad)
    assert trained == trees.count(ours[0])


def test_every_loss_and_gradient_norm_agrees(ours, theirs):
    assert len(ours[3]) == STEPS
    np.testing.assert_allclose(ours[3], theirs[1], rtol=1e-5)
    np.testing.assert_allclose(ours[4], theirs[2], rtol=1e-4)
    assert max(ours[4]) > 5.0, "clipping took part"


def test_the_final_parameters_agree(ours, theirs):
    initial, _, final, *_ = ours
    twin = theirs[0]
    for (target, i), layer in twin.layers.items():
        for key, module in (("a", layer.lora_A), ("b", layer.lora_B)):
            mine, before = final["adapter"][target][key][i], initial["adapter"][target][key][i]
            other = module["default"].weight.detach().numpy().T
            assert distance(mine, other) <= 1e-3
            # The learned change, not only the shared initial values.
            assert np.linalg.norm(mine - other) <= 1e-2 * np.linalg.norm(mine - before)
    assert distance(final["head"]["kernel"], twin.head.weight.detach().numpy().T) <= 1e-3
    assert distance(final["centers"], twin.centers.detach().numpy()) <= 1e-3


def distance(a, b):
    """Relative L2."""
    return np.linalg.norm(a - b) / np.linalg.norm(b)
