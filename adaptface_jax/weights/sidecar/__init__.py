# SPDX-License-Identifier: Apache-2.0
"""Sidecar files: the settings that each project stores next to its weights, and which of them change the function."""
