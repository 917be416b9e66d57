# SPDX-License-Identifier: Apache-2.0
"""A run's model in the formats of other tools."""
