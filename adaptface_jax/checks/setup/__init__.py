"""Checks of a training set-up, which find mistakes before hours are spent on them."""
