# SPDX-License-Identifier: Apache-2.0
"""Checks of a training set-up, which find mistakes before hours are spent on them."""
