"""Layers of the vision transformer, and the place where an adapter is applied."""
