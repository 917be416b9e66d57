# SPDX-License-Identifier: Apache-2.0
"""The scripts in the READMEs of exported folders, which run unchanged, and the synthetic face that they read."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from adaptface_jax.core.files import write_bytes
from adaptface_jax.data.synthetic_faces.generate import Population
from adaptface_jax.models.specs import ImageStats

FACE = "face.png"
# In a notebook there is no __file__.
_START = f"""folder = Path(__file__).parent if "__file__" in globals() else Path()  # of this README
photograph = folder / "{FACE}"  # a synthetic face; name yours, cropped and aligned as in training
image = Image.open(photograph).convert("RGB")"""


def write_face(out: Path) -> None:
    """`face.png`: a synthetic face that is in no training set."""
    buffer = io.BytesIO()
    Image.fromarray(Population(0).portrait(0)).save(buffer, "PNG")
    write_bytes(out / FACE, buffer.getvalue())


def script(imports: Iterable[str], code: str) -> str:
    """A fenced script, to be saved in the exported folder and run from anywhere; `code` may use `image` and
    `folder`."""
    names = sorted({"from PIL import Image", *imports}, key=lambda line: (line.startswith("from"), line.lower()))
    whole = "\n\n".join(["from pathlib import Path", "\n".join(names), _START, code])
    return f"Save this script next to this file, or run it in a notebook started here:\n\n```python\n{whole}\n```"


def stored(name: str, size: int) -> str:
    """Code that makes `name`, uint8 [1, size, size, 3], from `image`."""
    return f"{name} = np.asarray({_resized(size)})[None]"


def normalized(name: str, size: int, stats: ImageStats) -> str:
    """Code that makes `name`, float32 [1, size, size, 3], from `image`."""
    mean, std = list(stats.mean), list(stats.std)
    return (
        f"{name} = np.asarray({_resized(size)}, np.float32)[None] / 255\n"
        f"{name} = ({name} - np.float32({mean})) / np.float32({std})"
    )


def _resized(size: int) -> str:
    return f"image.resize(({size}, {size}), Image.Resampling.BICUBIC)"
