"""What a config file imports: `defaults()`, every setting at its default, and `inherit(...)`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from adaptface_jax.config.overrides import defaults
    from adaptface_jax.config.recipes import inherit

__all__ = ["defaults", "inherit"]


def __getattr__(name: str) -> Any:
    # The schema must also import without the library that config files need.
    if name == "defaults":
        from adaptface_jax.config.overrides import defaults

        return defaults
    if name == "inherit":
        from adaptface_jax.config.recipes import inherit

        return inherit
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
