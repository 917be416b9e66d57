"""Whether a benchmark's images are what a model was trained on: crops that a face fills, not whole photographs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from adaptface_jax.align.crop import Aligner
from adaptface_jax.align.geometry import CROP_SIZE, TEMPLATE, similarity
from adaptface_jax.checks.finding import Finding, note, ok, warning
from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import plural
from adaptface_jax.data.decode import decode, header_size

# How many images are sampled: for their sizes (from the headers), and for their faces.
SIZES, FACES = 200, 12

# How much a face must be enlarged to the size it has in an aligned crop. Median face: 0.94 (film faces) to 1.26
# (generated ones, half of them turned) in crops of public sets, about 2 in LFW's own 250x250 photographs.
SMALL, LARGE = 1.5, 0.65
STRETCHED = 1.25

_ALIGN = "crop and align them first (adaptface align SRC DST), or treat these results as those of whole photographs"


def look_at(images: Sequence[bytes | np.ndarray], keys: Sequence[str] | None = None) -> Finding:
    """What a model sees in these images, in one line; a warning if a face does not fill them.

    images: encoded or decoded, as in Benchmark; only a sample is inspected. keys: their names in errors.
    Raises InputError for an image of the sample that cannot be decoded.
    """

    def name(number: int) -> str:
        return f"image {number}" if keys is None else keys[number]

    sizes = np.array([header_size(images[number], name(number)) for number in _sample(len(images), SIZES)])
    width, height = np.median(sizes, axis=0).astype(int)
    what = f"{width}x{height} pixels" + (" (median)" if len(np.unique(sizes, axis=0)) > 1 else "")
    stretch = max(width, height) / max(min(width, height), 1)
    squeezed = f", squeezed to a square ({stretch:.1f} to 1)" if stretch > STRETCHED else ""
    try:
        aligner = Aligner()
    except InputError:
        unseen = "whether they are aligned crops is unknown without the extra align"
        if squeezed or min(width, height) > 2 * CROP_SIZE:
            return warning("crops", f"{what}{squeezed}: not {CROP_SIZE}x{CROP_SIZE} crops; {unseen}", _ALIGN)
        return ok("crops", f"{what}; {unseen}")
    chosen = _sample(len(images), FACES)
    found = [_growth(aligner, decode(images[number], name(number))) for number in chosen]
    growth = [value for value in found if value is not None]
    where = f"of {plural(len(found), 'image')} sampled"
    if len(growth) < len(found) / 2:
        return note(
            "crops", f"{what}{squeezed}: no face found in {len(found) - len(growth)} {where}", "are these faces?"
        )
    median = float(np.median(growth))
    if median > SMALL or median < LARGE or squeezed:
        size = f"a face is {1 / median:.2f} times its size in aligned crops ({where})"
        return warning("crops", f"{what}, not aligned crops{squeezed}: {size}", _ALIGN)
    return ok("crops", f"{what}, a face fills them ({where})")


def _sample(total: int, wanted: int) -> list[int]:
    """Evenly spaced indices."""
    return np.unique(np.linspace(0, total - 1, min(total, wanted)).astype(int)).tolist()


def _growth(aligner: Aligner, image: np.ndarray) -> float | None:
    """How much the face in an image resized to a crop must be enlarged to fill it; None if no face is found."""
    crop = aligner(image)
    if crop is None:
        return None
    height, width = image.shape[:2]
    seen = (crop.landmarks + 0.5) * np.array([CROP_SIZE / width, CROP_SIZE / height]) - 0.5
    try:
        return float(np.hypot(*similarity(seen, TEMPLATE)[:, 0]))
    except InputError:
        return None
