# SPDX-License-Identifier: Apache-2.0
"""Kernels for NVIDIA GPUs; each equals a plain form up to rounding."""
