"""The settings that each project stores next to its weights, and which of them change the function they compute."""
