"""The version of this package: the one place it stands in."""

__version__ = "0.2.0"
