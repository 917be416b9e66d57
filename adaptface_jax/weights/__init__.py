# SPDX-License-Identifier: Apache-2.0
"""Published weights: files -> name tables -> our parameter tree, and the tree back to names."""
