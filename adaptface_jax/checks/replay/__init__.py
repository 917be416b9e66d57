"""Verification of a run: its files are unchanged, and recomputing some of its steps gives the same results."""
