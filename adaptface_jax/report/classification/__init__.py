"""The pages of classification runs: one run, and several side by side."""
