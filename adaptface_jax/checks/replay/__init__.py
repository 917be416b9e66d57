"""A finished run proved: what it left is as it was, and steps of it computed again come to the same."""
