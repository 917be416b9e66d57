"""The end of a measurement: its numbers with the machine they hold for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from adaptface_jax.core.environment import environment
from adaptface_jax.core.files import write_text
from adaptface_jax.core.json_io import to_json


def show(result: dict[str, Any], out: Path | None) -> None:
    """Print the numbers, and write them if a file is named."""
    text = to_json(result | {"machine": environment(), "load_average": os.getloadavg()[0]}, indent=2)
    print(text)
    if out:
        write_text(out, text + "\n")
