# SPDX-License-Identifier: Apache-2.0
"""The same training step in transformers + PEFT, tuned as its users would tune it.

Images come already resized and normalized, AdamW is the fused one, attention is `sdpa`; in bfloat16 the frozen weights
are stored in it and the rest runs under autocast; float32 may use TF32 on a GPU, as it does here.
"""

from __future__ import annotations

import contextlib
import os
import time

import peft
import torch
import torch.nn.functional as F
import transformers
from serving import Problem, Ready, serve

from adaptface_jax.models.specs import backbone_spec

# Target -> its layer in transformers 5, and before.
TARGETS = {
    "q": ("attention.q_proj", "attention.query"),
    "k": ("attention.k_proj", "attention.key"),
    "v": ("attention.v_proj", "attention.value"),
    "proj": ("attention.o_proj", "output.dense"),
    "fc1": ("mlp.fc1",),
    "fc2": ("mlp.fc2",),
}


class Recognizer(torch.nn.Module):
    """Backbone with LoRA, linear head, unit centers: images and labels to the mean CosFace loss."""

    def __init__(self, problem: Problem) -> None:
        super().__init__()
        spec = backbone_spec(problem.backbone)
        config = transformers.Dinov2Config(
            hidden_size=spec.width,
            num_hidden_layers=spec.depth,
            num_attention_heads=spec.heads,
            mlp_ratio=spec.mlp_width // spec.width,
            image_size=problem.image_size,
            patch_size=spec.patch_size,
            attn_implementation="sdpa",
        )
        backbone = transformers.Dinov2Model(config)
        if problem.dtype == "bfloat16":
            backbone = backbone.to(torch.bfloat16)
        adapter = peft.LoraConfig(
            r=problem.rank,
            lora_alpha=problem.rank,
            target_modules=[layer for name in problem.targets for layer in TARGETS[name]],
        )
        self.backbone = peft.get_peft_model(backbone, adapter)
        adapted = sum(isinstance(module, peft.tuners.lora.LoraLayer) for module in self.backbone.modules())
        if adapted != len(problem.targets) * spec.depth:
            raise RuntimeError(
                f"PEFT adapted {adapted} layers, not {len(problem.targets)} in each of {spec.depth} blocks"
            )
        self.head = torch.nn.Linear(spec.width, problem.embedding_dim)
        self.centers = torch.nn.Parameter(0.01 * torch.randn(problem.classes, problem.embedding_dim))
        self.autocast = problem.dtype == "bfloat16"
        self.scale, self.margin = problem.scale, problem.margin

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        lower = torch.autocast(images.device.type, torch.bfloat16) if self.autocast else contextlib.nullcontext()
        with lower:
            feature = self.backbone(pixel_values=images).pooler_output
        return self.head(feature.float())

    def forward(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        embedding = F.normalize(self.embed(images))
        cosine = embedding @ F.normalize(self.centers).T
        margin = self.margin * F.one_hot(labels, cosine.shape[1])
        return F.cross_entropy(self.scale * (cosine - margin), labels)


def build(problem: Problem) -> Ready:
    torch.manual_seed(0)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    torch.set_float32_matmul_precision("high")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = Recognizer(problem).to(device).train()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=problem.learning_rate, weight_decay=problem.weight_decay, fused=True)
    shape = (problem.batch_size, 3, problem.image_size, problem.image_size)
    images = torch.randn(shape, device=device)
    labels = torch.randint(problem.classes, (problem.batch_size,), device=device)
    forward = torch.compile(model) if problem.variant == "peft_compiled" else model

    def embed() -> torch.Tensor:
        with torch.inference_mode():
            return model.embed(images).sum()

    def train() -> torch.Tensor:
        optimizer.zero_grad(set_to_none=True)
        loss = forward(images, labels)
        loss.backward()
        optimizer.step()
        return loss.detach()

    if problem.variant == "frozen_torch":
        model.backbone.base_model.disable_adapter_layers()
    step = embed if problem.variant == "frozen_torch" else train

    def run(steps: int) -> float:
        start = time.perf_counter()
        for _ in range(steps):
            step()
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    start = time.perf_counter()
    loss = step().item()
    first = time.perf_counter() - start
    seconds = min(run(1), run(1))
    return Ready(
        run,
        lambda: torch.cuda.max_memory_allocated() if device == "cuda" else None,
        {
            "compile_seconds": max(0.0, first - seconds),
            "first_loss": loss,
            "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
            "versions": {
                "torch": torch.__version__,
                "transformers": transformers.__version__,
                "peft": peft.__version__,
            },
        },
    )


if __name__ == "__main__":
    serve(build)
