# SPDX-License-Identifier: Apache-2.0
"""Vision backbones: how images become features."""
