"""The file of a site's thresholds: what `calibrate` writes, and `verify`, `identify` and a model's `results` read."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

from adaptface_jax.api.site_name import SITE
from adaptface_jax.core.files import write_text
from adaptface_jax.core.json_io import from_plain, read_json, to_json
from adaptface_jax.evaluation.site_thresholds import SiteThresholds


@dataclasses.dataclass(frozen=True)
class SiteFile:
    """site: the thresholds. pile: the name of the folder they are from. fingerprint: of the model they belong to.
    model: what it was opened from."""

    site: SiteThresholds
    pile: str
    fingerprint: str
    model: dict[str, Any] = dataclasses.field(default_factory=dict)

    def wanted(self, far: float | None) -> str:
        """What a threshold at this FAR would take, or "" if unknown."""
        for name, count in self.site.needed.items():
            if far is not None and math.isclose(float(name), far):
                return f"it takes about {count:,} photographs, and there were {self.site.photographs:,}"
        return ""


def write_site_file(path: Path, file: SiteFile) -> None:
    """Writes it atomically."""
    write_text(path, to_json(file, indent=2) + "\n")


def read_site_file(path: Path) -> SiteFile | None:
    """None if there is no such file, or a JSON file of another kind.

    Raises InputError for a corrupted one.
    """
    if not path.exists():
        return None
    value = read_json(path)
    return from_plain(value, SiteFile, str(path)) if "site" in value or path.name == SITE else None
