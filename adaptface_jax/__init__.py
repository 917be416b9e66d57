"""Adapt frozen vision foundation models to face recognition with LoRA and Domain-Aware LoRA."""

__version__ = "0.1.0"
