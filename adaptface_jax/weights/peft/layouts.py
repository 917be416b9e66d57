"""The two namings in which adapters are written; `weights.peft.names` describes them."""

from typing import Literal

Layout = Literal["v4", "v5"]
LAYOUTS: tuple[Layout, ...] = ("v5", "v4")
