"""The two networks in torch, taking the parameters, the batches and the dropout masks of this project."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from adaptface_jax.config.classification import ModelConfig
from adaptface_jax.config.schema import LoopConfig
from tests import classifier_runs as ours

ACTIVATIONS = {"relu": nn.ReLU, "leaky": nn.LeakyReLU, "elu": nn.ELU, "gelu": nn.GELU, "selu": nn.SELU}


class Masked(nn.Module):
    """A dropout whose mask is given."""

    mask: torch.Tensor | None = None

    def forward(self, x):
        if not self.training or self.mask is None:
            return x
        return x * self.mask


def norm(channels: int, wanted: bool = True) -> nn.Module:
    return nn.BatchNorm2d(channels) if wanted else nn.Identity()


class Cnn(nn.Module):
    def __init__(self, model: ModelConfig, outputs: int):
        super().__init__()
        width, last, act = model.width, model.channels_block3, ACTIVATIONS[model.activation]
        self.conv1, self.norm1 = nn.Conv2d(3, width, 3, padding=1), norm(width)
        self.conv2, self.norm2 = nn.Conv2d(width, 2 * width, 3, padding=1), norm(2 * width)
        self.conv3, self.norm3 = nn.Conv2d(2 * width, last, 3, padding=1), norm(last)
        self.act, self.pool, self.dropout = act(), nn.MaxPool2d(2), Masked()
        self.head = nn.Linear(last, outputs)

    def forward(self, x):
        x = self.pool(self.act(self.norm1(self.conv1(x))))
        x = self.pool(self.act(self.norm2(self.conv2(x))))
        x = self.act(self.norm3(self.conv3(x)))
        return self.head(self.dropout(nn.functional.adaptive_avg_pool2d(x, 1).flatten(1)))


class Block(nn.Module):
    def __init__(self, model: ModelConfig, din: int, dout: int, stride: int):
        super().__init__()
        wanted, bias = model.batch_norm, not model.batch_norm
        self.conv1 = nn.Conv2d(din, dout, 3, stride=stride, padding=1, bias=bias)
        self.conv2 = nn.Conv2d(dout, dout, 3, padding=1, bias=bias)
        self.norm1, self.norm2, self.dropout = norm(dout, wanted), norm(dout, wanted), Masked()
        self.residual = model.residual
        self.shortcut = self.shortcut_norm = None
        if model.residual and (stride != 1 or din != dout):
            self.shortcut, self.shortcut_norm = nn.Conv2d(din, dout, 1, stride=stride, bias=bias), norm(dout, wanted)
        self.act = ACTIVATIONS[model.activation]()

    def forward(self, x):
        y = self.dropout(self.act(self.norm1(self.conv1(x))))
        y = self.norm2(self.conv2(y))
        if not self.residual:
            return self.act(y)
        return self.act(y + (x if self.shortcut is None else self.shortcut_norm(self.shortcut(x))))


class ResNet(nn.Module):
    def __init__(self, model: ModelConfig, outputs: int):
        super().__init__()
        self.conv = nn.Conv2d(3, model.width, 3, padding=1, bias=not model.batch_norm)
        self.norm, self.act = norm(model.width, model.batch_norm), ACTIVATIONS[model.activation]()
        self.names, din = [], model.width
        for stage, count in enumerate(model.blocks):
            for j in range(count):
                name, dout = f"stage{stage + 1}_block{j + 1}", model.width * 2**stage
                self.add_module(name, Block(model, din, dout, 2 if stage and not j else 1))
                self.names.append(name)
                din = dout
        self.head = nn.Linear(din, outputs)

    def forward(self, x):
        x = self.act(self.norm(self.conv(x)))
        for name in self.names:
            x = getattr(self, name)(x)
        return self.head(nn.functional.adaptive_avg_pool2d(x, 1).flatten(1))


TO_TORCH = {"kernel": "weight", "scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}


def torch_name(path: str) -> str:
    *modules, leaf = path.split("/")
    return ".".join([*modules, TO_TORCH[leaf]])


def to_torch(path: str, leaf: np.ndarray) -> torch.Tensor:
    """A kernel [H, W, in, out] or [in, out] transposed, anything else unchanged."""
    if path.endswith("kernel"):
        leaf = leaf.transpose(3, 2, 0, 1) if leaf.ndim == 4 else leaf.T
    return torch.from_numpy(np.ascontiguousarray(leaf))


def from_torch(path: str, tensor: torch.Tensor) -> np.ndarray:
    array = tensor.detach().numpy()
    if path.endswith("kernel"):
        array = array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T
    return array.copy()


def build(model: ModelConfig, flat: dict[str, np.ndarray], outputs: int = ours.OUTPUTS) -> nn.Module:
    network = (Cnn if model.name == "cnn" else ResNet)(model, outputs)
    found = {torch_name(path): to_torch(path, leaf) for path, leaf in flat.items()}
    missing, unexpected = network.load_state_dict(found, strict=False)
    assert not unexpected and all(name.endswith("num_batches_tracked") for name in missing), (missing, unexpected)
    return network


def optimizer_of(network: nn.Module, train: LoopConfig) -> torch.optim.Optimizer:
    """Biases and the scales of norms do not decay."""
    decayed = [p for p in network.parameters() if p.ndim > 1]
    rest = [p for p in network.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": train.weight_decay}, {"params": rest, "weight_decay": 0.0}]
    if train.optimizer == "sgd":
        return torch.optim.SGD(groups, train.learning_rate, train.momentum)
    kind = torch.optim.Adam if train.optimizer == "adam" else torch.optim.AdamW
    return kind(groups, train.learning_rate)


def run(model: ModelConfig, train: LoopConfig = ours.TRAIN):
    """What `classifier_runs.run` returns, in torch."""
    params, moments = ours.made(model)
    network = build(model, params | moments).train()
    optimizer = optimizer_of(network, train)
    dropouts = [module for module in network.modules() if isinstance(module, Masked)]
    losses = []
    for step, batch in enumerate(ours.batches(model)):
        for module, mask in zip(dropouts, ours.masks(model, step), strict=True):
            module.mask = torch.from_numpy(mask.transpose(0, 3, 1, 2) if mask.ndim == 4 else mask)
        images = torch.from_numpy(ours.normalized(batch["image"])).permute(0, 3, 1, 2)
        logits, label = network(images), torch.from_numpy(batch["label"])
        if model.name == "cnn":
            loss = nn.functional.binary_cross_entropy_with_logits(logits, label.float())
        else:
            loss = nn.functional.cross_entropy(logits, label.long())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    network.eval()
    state = network.state_dict()
    with torch.no_grad():
        logits = network(images).numpy()
    return {
        "losses": np.array(losses),
        "params": {path: from_torch(path, state[torch_name(path)]) for path in params},
        "moments": {path: from_torch(path, state[torch_name(path)]) for path in moments},
        "logits": logits,
    }
