# SPDX-License-Identifier: Apache-2.0
"""The pages of classification runs: one run, and several side by side."""
