# SPDX-License-Identifier: Apache-2.0
"""Layers of the vision transformer, where adapters are applied."""
