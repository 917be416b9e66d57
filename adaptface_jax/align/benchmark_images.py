"""Whether a benchmark's images are what a model was trained on: crops that a face fills, and no whole photographs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from adaptface_jax.align.crop import Aligner
from adaptface_jax.align.geometry import CROP_SIZE, TEMPLATE, similarity
from adaptface_jax.checks.finding import Finding, note, ok, warning
from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import plural
from adaptface_jax.data.decode import decode, header_size

# How many images are looked at: their sizes by their headers, and in some the face.
SIZES, FACES = 200, 12

# How much a face must grow to be as large as in an aligned crop. Of the median face: in crops of public sets 0.94 (film
# faces) to 1.26 (generated ones, half of them turned), in LFW's own photographs of 250x250 about 2.
SMALL, LARGE = 1.5, 0.65
STRETCHED = 1.25

_ALIGN = "crop and align them first (adaptface align SRC DST), or read these figures as those of whole photographs"


def look_at(images: Sequence[bytes | np.ndarray], keys: Sequence[str] | None = None) -> Finding:
    """What a model sees of these images, in one line; a warning where a face does not fill them.

    images: encoded or decoded, as in Benchmark; a sample is looked at. keys: their names in errors.
    Raises InputError for an image of the sample that cannot be decoded.
    """

    def name(number: int) -> str:
        return f"image {number}" if keys is None else keys[number]

    sizes = np.array([header_size(images[number], name(number)) for number in _sample(len(images), SIZES)])
    width, height = np.median(sizes, axis=0).astype(int)
    what = f"{width}x{height} pixels" + (" in the median" if len(np.unique(sizes, axis=0)) > 1 else "")
    stretch = max(width, height) / max(min(width, height), 1)
    squeezed = f", squeezed to a square ({stretch:.1f} to 1)" if stretch > STRETCHED else ""
    try:
        aligner = Aligner()
    except InputError:
        unseen = "whether they are aligned crops cannot be told without the extra align"
        if squeezed or min(width, height) > 2 * CROP_SIZE:
            return warning("crops", f"{what}{squeezed}: no crops of {CROP_SIZE}x{CROP_SIZE}; {unseen}", _ALIGN)
        return ok("crops", f"{what}; {unseen}")
    chosen = _sample(len(images), FACES)
    found = [_growth(aligner, decode(images[number], name(number))) for number in chosen]
    growth = [value for value in found if value is not None]
    where = f"of {plural(len(found), 'image')} looked at"
    if len(growth) < len(found) / 2:
        return note(
            "crops", f"{what}{squeezed}: no face found in {len(found) - len(growth)} {where}", "are these faces?"
        )
    median = float(np.median(growth))
    if median > SMALL or median < LARGE or squeezed:
        size = f"a face is {1 / median:.2f} of its size in aligned crops ({where})"
        return warning("crops", f"{what}, no aligned crops{squeezed}: {size}", _ALIGN)
    return ok("crops", f"{what}, a face fills them ({where})")


def _sample(total: int, wanted: int) -> list[int]:
    """Numbers evenly over all of them."""
    return np.unique(np.linspace(0, total - 1, min(total, wanted)).astype(int)).tolist()


def _growth(aligner: Aligner, image: np.ndarray) -> float | None:
    """How much the face of an image, squeezed to a crop's size, must grow to fill it; None where no face is found."""
    crop = aligner(image)
    if crop is None:
        return None
    height, width = image.shape[:2]
    seen = (crop.landmarks + 0.5) * np.array([CROP_SIZE / width, CROP_SIZE / height]) - 0.5
    try:
        return float(np.hypot(*similarity(seen, TEMPLATE)[:, 0]))
    except InputError:
        return None
