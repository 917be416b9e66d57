"""Sidecar files: the settings that each project stores next to its weights, and which of them change the function."""
