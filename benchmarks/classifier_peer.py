# SPDX-License-Identifier: Apache-2.0
"""The same networks in torch, on images that are normalized already; `torch_channels_last` in that memory format."""

from __future__ import annotations

import os
import time

import torch
import torch.nn.functional as F
from classifier_step import Problem
from serving import Ready, serve

from adaptface_jax.config import overrides, recipes
from adaptface_jax.config.classification import ModelConfig
from adaptface_jax.config.schema import LoopConfig
from tests.peers.classifier_twin import Cnn, Masked, ResNet, optimizer_of


def network(model: ModelConfig, outputs: int) -> torch.nn.Module:
    """The tests' twin with torch's own dropouts."""
    result = (Cnn if model.name == "cnn" else ResNet)(model, outputs)
    for module in list(result.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, Masked):
                kind = torch.nn.Dropout if model.name == "cnn" else torch.nn.Dropout2d
                setattr(module, name, kind(model.dropout))
    return result


def build(problem: Problem) -> Ready:
    torch.manual_seed(0)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    config = overrides.freeze(recipes.load(problem.recipe))
    train: LoopConfig = config.train
    size, count = config.model.image_size, train.batch_size
    form = torch.channels_last if problem.variant == "torch_channels_last" else torch.contiguous_format
    model = network(config.model, problem.outputs).to(device, memory_format=form).train()
    optimizer = optimizer_of(model, train)
    images = torch.randn(count, 3, size, size, device=device).to(memory_format=form)
    if problem.multi_label:
        labels = torch.randint(2, (count, problem.outputs), device=device).float()
    else:
        labels = torch.randint(problem.outputs, (count,), device=device)
    loss_of = F.binary_cross_entropy_with_logits if problem.multi_label else F.cross_entropy

    def step() -> torch.Tensor:
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(model(images), labels)
        loss.backward()
        optimizer.step()
        return loss.detach()

    def run(steps: int) -> float:
        start = time.perf_counter()
        for _ in range(steps):
            step()
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    loss = step().item()
    run(1)
    facts = {
        "compile_seconds": 0.0,
        "first_loss": loss,
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "versions": {"torch": torch.__version__},
    }
    return Ready(run, lambda: torch.cuda.max_memory_allocated() if device == "cuda" else None, facts)


if __name__ == "__main__":
    serve(build, Problem)
