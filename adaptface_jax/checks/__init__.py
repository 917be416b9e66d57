"""Diagnostics of set-ups and runs: findings with their likely causes, for the doctor and for the report."""
