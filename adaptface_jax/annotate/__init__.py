# SPDX-License-Identifier: Apache-2.0
"""Image labels computed from pixels: head pose, lighting and sharpness."""
