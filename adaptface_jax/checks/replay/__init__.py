# SPDX-License-Identifier: Apache-2.0
"""Verification of a run: its files are unchanged, and recomputing some of its steps gives the same results."""
