"""What a config file imports: `defaults()`, every setting as it is unless changed, and `inherit(...)`."""

from adaptface_jax.config.overrides import defaults
from adaptface_jax.config.recipes import inherit

__all__ = ["defaults", "inherit"]
