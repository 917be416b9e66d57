"""Goldens of DINOv3, SigLIP and face ViTs: tiny models with synthetic weights, their outputs, and a run of twenty
steps.

Writes backbones/NAME/{model.safetensors, expected.npz} and face_run.npz next to this file:

    python tests/goldens/make_towers.py INSIGHTFACE     (transformers 5.24, PEFT 0.21, torch 2.13, float32 on a CPU)

INSIGHTFACE: a clone of deepinsight/insightface (here at 7fadd420), whose recognition/arcface_torch/backbones/vit.py is
run unchanged. That of mk-minchul/CVLface is the same function with other sizes.
"""

from __future__ import annotations

import runpy
import sys
import types
from pathlib import Path

import numpy as np
import peft
import torch
import transformers
from safetensors.torch import save_file

HERE = Path(__file__).parent
MAKER = runpy.run_path(str(HERE / "make_backbones.py"))
SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": 4}
SIZES = (12, 20, 22, 32)
STEPS, CLASSES, BATCH = 20, 6, 8


def published_vit(clone: Path) -> type[torch.nn.Module]:
    """InsightFace's class. It imports three timm helpers under a removed name: replaced here by torch's own."""
    layers = types.ModuleType("timm.models.layers")
    layers.DropPath, layers.trunc_normal_ = torch.nn.Identity, torch.nn.init.trunc_normal_
    layers.to_2tuple = lambda x: (x, x)
    for name in ("timm", "timm.models"):
        sys.modules[name] = types.ModuleType(name)
    sys.modules["timm.models.layers"] = layers
    return runpy.run_path(str(clone / "recognition/arcface_torch/backbones/vit.py"))["VisionTransformer"]


def face_model(clone: Path) -> torch.nn.Module:
    """The row tiny_face, with nontrivial moments too."""
    model = published_vit(clone)(22, 4, num_classes=24, embed_dim=16, depth=2, num_heads=2, mask_ratio=0.1)
    MAKER["fill"](model)
    generator = torch.Generator().manual_seed(1)
    for name, buffer in model.named_buffers():
        if name.endswith("running_mean"):
            buffer.copy_(0.3 * torch.randn(buffer.shape, generator=generator))
        if name.endswith("running_var"):
            buffer.copy_(0.5 + torch.rand(buffer.shape, generator=generator))
    return model


def tiny_models() -> dict[str, torch.nn.Module]:
    """Name of the row in tests/made_towers.py -> model."""
    torch.manual_seed(0)
    dinov3 = {**SMALL, "image_size": 20, "num_register_tokens": 3}
    plain = transformers.DINOv3ViTConfig(**dinov3, intermediate_size=64)
    gated = transformers.DINOv3ViTConfig(**dinov3, intermediate_size=48, use_gated_mlp=True, hidden_act="silu")
    siglip = transformers.SiglipVisionConfig(**SMALL, image_size=22, intermediate_size=64)
    return {
        "tiny_dinov3": MAKER["fill"](transformers.DINOv3ViTModel(plain)),
        "tiny_dinov3_gated": MAKER["fill"](transformers.DINOv3ViTModel(gated)),
        "tiny_siglip": MAKER["fill"](transformers.SiglipVisionModel(siglip)),
    }


def compute(model: torch.nn.Module, images: np.ndarray) -> np.ndarray:
    """feature [B, D] of images [B, S, S, 3]."""
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2)
    more = {}
    if isinstance(model, transformers.SiglipVisionModel):
        more["interpolate_pos_encoding"] = images.shape[1] != model.config.image_size
    with torch.no_grad():
        output = model(pixels, **more)
    return (output if isinstance(output, torch.Tensor) else output.pooler_output).numpy()


def face_run(clone: Path) -> dict[str, np.ndarray]:
    """LoRA (rank 4, alpha 8) on qkv and proj of the face model in use, CosFace on its own embedding, plain AdamW."""
    model = face_model(clone)
    lora = peft.LoraConfig(r=4, lora_alpha=8, target_modules=["attn.qkv", "attn.proj"])
    adapted = peft.get_peft_model(model, lora).eval()
    generator = torch.Generator().manual_seed(3)
    factors = {name: p for name, p in adapted.named_parameters() if p.requires_grad}
    centers = torch.nn.Parameter(0.01 * torch.randn(CLASSES, 24, generator=generator))
    arrays: dict[str, np.ndarray] = {"centers": centers.detach().numpy().copy()}
    with torch.no_grad():
        for name, factor in factors.items():
            factor.copy_(0.1 * torch.randn(factor.shape, generator=generator))
            arrays[f"before:{name}"] = factor.numpy().copy()
    optimizer = torch.optim.AdamW([*factors.values(), centers], lr=1e-4, weight_decay=0.05)
    rng = np.random.default_rng(4)
    images = rng.integers(0, 256, (STEPS, BATCH, 22, 22, 3), dtype=np.uint8)
    labels = rng.integers(0, CLASSES, (STEPS, BATCH))
    losses, unit = [], torch.nn.functional.normalize
    for step in range(STEPS):
        pixels = (images[step].astype(np.float32) / 255 - np.float32(0.5)) / np.float32(0.5)
        feature = adapted(torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy()))
        target = torch.from_numpy(labels[step])
        margin = 0.35 * torch.nn.functional.one_hot(target, CLASSES)
        loss = torch.nn.functional.cross_entropy(64 * (unit(feature) @ unit(centers).T - margin), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    arrays |= {f"after:{name}": factor.detach().numpy() for name, factor in factors.items()}
    return arrays | {"images": images, "labels": labels, "losses": np.array(losses)}


def main() -> None:
    clone = Path(sys.argv[1])
    images = np.random.default_rng(1).standard_normal((2, 32, 32, 3)).astype(np.float32)
    for name, model in (tiny_models() | {"tiny_face": face_model(clone)}).items():
        folder = HERE / "backbones" / name
        folder.mkdir(exist_ok=True)
        if isinstance(model, transformers.PreTrainedModel):
            model.save_pretrained(folder)
        else:
            save_file({key: x.contiguous() for key, x in model.state_dict().items()}, folder / "model.safetensors")
        sizes = (22,) if name == "tiny_face" else SIZES
        expected = {f"feature_{size}": compute(model, images[:, :size, :size]) for size in sizes}
        np.savez_compressed(folder / "expected.npz", images=images, **expected)
    np.savez_compressed(HERE / "face_run.npz", **face_run(clone))


if __name__ == "__main__":
    main()
