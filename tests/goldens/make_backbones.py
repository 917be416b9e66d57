"""Goldens of the backbones: tiny transformers models with synthetic weights, and their outputs.

Writes backbones/NAME/{model.safetensors, config.json, expected.npz} and positions.npz next to this file:

    python tests/goldens/make_backbones.py        (transformers 5.23, torch 2.13, float32 on a CPU)
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import transformers

HERE = Path(__file__).parent
SIZES = (12, 20, 32)  # three grids; 20 is the native one
SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 20, "patch_size": 4}


def fill(model: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Synthetic weights, none of them trivial: biases not zero, norms and layer scales not one."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            scales = "lambda" in name or (name.endswith("weight") and parameter.ndim == 1)
            parameter.copy_(1 + 0.3 * noise if scales else (0.1 if parameter.ndim == 1 else 0.05) * noise)
    return model.eval()


def tiny_models() -> dict[str, torch.nn.Module]:
    """Name of the row in tests/made_weights.py -> model."""
    torch.manual_seed(0)
    dinov2 = transformers.Dinov2Config(**SMALL)
    swiglu = transformers.Dinov2Config(**SMALL, use_swiglu_ffn=True)
    registers = transformers.Dinov2WithRegistersConfig(**SMALL, num_register_tokens=4)
    clip = {**SMALL, "intermediate_size": 64, "projection_dim": 24}
    return {
        "tiny_dinov2": fill(transformers.Dinov2Model(dinov2)),
        "tiny_swiglu": fill(transformers.Dinov2Model(swiglu)),
        "tiny_reg4": fill(transformers.Dinov2WithRegistersModel(registers)),
        "tiny_clip": fill(transformers.CLIPVisionModelWithProjection(transformers.CLIPVisionConfig(**clip))),
        "tiny_clip_gelu": fill(
            transformers.CLIPVisionModelWithProjection(transformers.CLIPVisionConfig(**clip, hidden_act="gelu"))
        ),
    }


def compute(model: torch.nn.Module, images: np.ndarray) -> dict[str, np.ndarray]:
    """feature [B, D], blocks [L, B, T, D], and for CLIP projected [B, out]; images [B, S, S, 3]."""
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2)
    clip = model.config.model_type == "clip_vision_model"
    more = {"interpolate_pos_encoding": True} if clip else {}
    with torch.no_grad():
        output = model(pixels, output_hidden_states=True, **more)
        states = output.hidden_states[1:]
        result = {"blocks": torch.stack(states).numpy()}
        if clip:
            result["projected"] = output.image_embeds.numpy()
            result["feature"] = model.vision_model.post_layernorm(states[-1][:, 0]).numpy()
        else:
            result["feature"] = output.pooler_output.numpy()
    return result


def make_positions() -> None:
    """torch's own resampling of synthetic grids by the three rules."""
    rng = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {}
    for native in (5, 37):
        positions = rng.standard_normal((1, 1 + native * native, 2)).astype(np.float32)
        arrays[f"native_{native}"] = positions
        cells = torch.from_numpy(positions[:, 1:]).reshape(1, native, native, 2).permute(0, 3, 1, 2)
        for grid in (3, 8, 16, 40):
            scale = (grid + 0.1) / native
            for rule, options in {
                "dinov2": {"scale_factor": (scale, scale)},
                "bicubic": {"size": (grid, grid)},
                "bicubic_antialias": {"size": (grid, grid), "antialias": True},
            }.items():
                # In float64: torch's own float32 coordinates are off by 2e-5 at 37 cells.
                resized = torch.nn.functional.interpolate(cells.double(), mode="bicubic", **options)
                arrays[f"{rule}_{native}_{grid}"] = resized.permute(0, 2, 3, 1).reshape(1, -1, 2).float().numpy()
    np.savez_compressed(HERE / "positions.npz", **arrays)


def main() -> None:
    make_positions()
    images = np.random.default_rng(1).standard_normal((2, 32, 32, 3)).astype(np.float32)
    for name, model in tiny_models().items():
        folder = HERE / "backbones" / name
        model.save_pretrained(folder)
        expected = {"images": images}
        for size in SIZES:
            expected |= {f"{key}_{size}": value for key, value in compute(model, images[:, :size, :size]).items()}
        np.savez_compressed(folder / "expected.npz", **expected)


if __name__ == "__main__":
    main()
