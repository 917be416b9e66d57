# SPDX-License-Identifier: Apache-2.0
"""LoRA and Domain-Aware LoRA: which layers, initial values, merging, routing."""
