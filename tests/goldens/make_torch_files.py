"""Goldens of the torch readers: tiny files as torch writes them, and their contents.

Writes torch_files/*.pth, *.pt and torch_files/expected.npz ("FILE:TENSOR" -> float32 values) next to this file:

    python tests/goldens/make_torch_files.py        (torch 2.13)
"""

from __future__ import annotations

import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch

FOLDER = Path(__file__).parent / "torch_files"


class Attention(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.in_proj_weight = torch.nn.Parameter(torch.randn(6, 2))
        self.out_proj = torch.nn.Linear(2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out_proj((x @ self.in_proj_weight.T)[..., :2])


class Tower(torch.nn.Module):
    """Everything that an archive of a vision tower may hold: modules in modules, buffers, numbers, a tensor list."""

    def __init__(self) -> None:
        super().__init__()
        self.proj = torch.nn.Parameter(torch.randn(2, 3))
        self.blocks = torch.nn.Sequential(Attention(), torch.nn.LayerNorm(2))
        self.register_buffer("input_resolution", torch.tensor(224))
        self.scale = 0.5
        self.sizes = [1, 2]
        self.name = "tower"

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.blocks(x) @ self.proj * self.scale


class Model(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.visual = Tower()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.visual(x)


def numbers(tensors: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
    return {name: tensor.detach().float().numpy().copy() for name, tensor in tensors.items()}


def forget_sources(file: Path) -> None:
    """Removes the members that name the source files of the machine that wrote the archive; torch still loads it."""
    with zipfile.ZipFile(file) as archive:
        kept = [(info, archive.read(info)) for info in archive.infolist() if not info.filename.endswith(".debug_pkl")]
    with zipfile.ZipFile(file, "w") as archive:
        for info, data in kept:
            archive.writestr(zipfile.ZipInfo(info.filename), data, info.compress_type)
    torch.jit.load(str(file))


def main() -> None:
    torch.manual_seed(0)
    FOLDER.mkdir(exist_ok=True)
    expected: dict[str, np.ndarray] = {}

    def save(file: str, content: object, holds: dict[str, torch.Tensor], **options: object) -> None:
        torch.save(content, FOLDER / file, **options)
        expected.update({f"{file}:{name}": value for name, value in numbers(holds).items()})

    state = OrderedDict(
        cls_token=torch.randn(1, 1, 4),
        scalar=torch.tensor(1.5),
        empty=torch.zeros(0, 3),
        **{"blocks.0.norm1.weight": torch.randn(4)},
    )
    save("float32.pth", state, state)
    for kind in ("float16", "bfloat16"):
        half = {name: tensor.to(getattr(torch, kind)) for name, tensor in state.items()}
        save(f"{kind}.pth", half, half)
    save("protocol4.pth", state, state, pickle_protocol=4)

    linear = torch.nn.Linear(3, 2)
    save("parameters.pth", dict(linear.named_parameters()), dict(linear.named_parameters()))

    optimizer = torch.optim.AdamW(linear.parameters())
    linear(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    backbone = {"backbone.cls_token": torch.randn(1, 1, 4), "backbone.ids": torch.arange(3)}
    checkpoint = {
        "teacher": backbone,
        "optimizer": optimizer.state_dict(),
        "epoch": 3,
        "loss": 0.25,
        "arch": "vit",
        "done": True,
        "shape": torch.Size([2, 3]),
        "dtype": torch.float32,
        "device": torch.device("cpu"),
        "extra": [None, 1, backbone["backbone.cls_token"]],
    }
    moments = {
        f"optimizer.state.{i}.{name}": tensor
        for i, moments in optimizer.state_dict()["state"].items()
        for name, tensor in moments.items()
    }
    teacher = {f"teacher.{name}": tensor for name, tensor in backbone.items()}
    save("nested.pth", checkpoint, teacher | moments | {"extra.2": backbone["backbone.cls_token"]})

    grid = torch.randn(2, 3, 4)
    views = {
        "whole": grid,
        "transposed": grid.permute(2, 0, 1),
        "channels_last": torch.randn(2, 3, 2, 2).to(memory_format=torch.channels_last),
        "rows": grid[1],
        "tied": grid,
        "unit": grid[:, :1, :1].permute(1, 0, 2)[:, :1],
    }
    save("views.pth", views, views)

    script = torch.jit.script(Model().half())
    script.save(str(FOLDER / "scripted.pt"))
    forget_sources(FOLDER / "scripted.pt")
    expected.update({f"scripted.pt:{name}": value for name, value in numbers(script.state_dict()).items()})
    traced = torch.jit.trace(Model(), torch.randn(1, 2))
    traced.save(str(FOLDER / "traced.pt"))
    forget_sources(FOLDER / "traced.pt")
    expected.update({f"traced.pt:{name}": value for name, value in numbers(traced.state_dict()).items()})

    np.savez_compressed(FOLDER / "expected.npz", **expected)


if __name__ == "__main__":
    main()
