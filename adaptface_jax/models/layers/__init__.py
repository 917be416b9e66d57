"""Layers of the vision transformer, where adapters are applied."""
