# SPDX-License-Identifier: Apache-2.0
"""CVLface: `conf` in the `config.json` of its hub folders, or the `model.yaml` next to a checkpoint.

Source: mk-minchul/CVLface, `models/base/__init__.py`: a model with `color_space: BGR` flips the channels of the RGB
images that it is given. Its other settings follow from the shapes.
"""

from __future__ import annotations

import re
from pathlib import Path

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.json_io import read_json
from adaptface_jax.core.text import quoted
from adaptface_jax.weights.sidecar.hugging_face import CONFIG
from adaptface_jax.weights.sidecar.rules import Found, inner, sidecar

MODEL = "model.yaml"
_COLOR_SPACE = re.compile(r"^color_space:\s*['\"]?(\w*)", re.MULTILINE)


def read_cvlface(path: Path) -> Found:
    """The order of the channels next to weights in CVLface's naming; raises InputError if it is neither RGB nor BGR."""
    for name in (CONFIG, MODEL):
        file = sidecar(path, name)
        found = None if file is None else _color_space(file)
        if file is not None and found is not None:
            if found not in ("RGB", "BGR"):
                raise InputError(f"{file}: color_space is {quoted(found)}; expected RGB or BGR")
            return Found(bgr=found == "BGR", files=(file,))
    return Found()


def _color_space(file: Path) -> object:
    if file.name == CONFIG:
        return inner(file, read_json(file), "conf").get("color_space")
    line = _COLOR_SPACE.search(file.read_text(encoding="utf-8", errors="replace"))
    return line and line[1]
