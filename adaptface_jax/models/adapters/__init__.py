"""LoRA and Domain-Aware LoRA: which layers, initial values, merging, routing."""
