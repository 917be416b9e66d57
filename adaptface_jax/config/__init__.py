"""What a config file imports: `defaults()`, every setting as it is unless changed, and `inherit(...)`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from adaptface_jax.config.overrides import defaults
    from adaptface_jax.config.recipes import inherit

__all__ = ["defaults", "inherit"]


def __getattr__(name: str) -> Any:
    # The schema is also for those who read no config files, and have no library for them.
    if name == "defaults":
        from adaptface_jax.config.overrides import defaults

        return defaults
    if name == "inherit":
        from adaptface_jax.config.recipes import inherit

        return inherit
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
