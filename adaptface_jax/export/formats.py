"""What can be written, and which flags belong to which format."""

from __future__ import annotations

FORMATS = ("merged", "peft", "stablehlo", "onnx", "base")

# Which formats each flag belongs to.
FLAGS = {
    "weights": ("base",),
    "image_size": ("base",),
    "mix": ("merged",),
    "data": ("merged",),
    "layout": ("peft",),
    "with_base": ("peft",),
    "preprocess": ("stablehlo", "onnx"),
    "input_size": ("stablehlo", "onnx"),
}
