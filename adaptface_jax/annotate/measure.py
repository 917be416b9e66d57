"""One image to the numbers from which its labels are derived."""

from __future__ import annotations

import dataclasses

import numpy as np
from PIL import Image

from adaptface_jax.align.crop import Aligner
from adaptface_jax.align.geometry import CROP_SIZE, TEMPLATE, similarity, warp
from adaptface_jax.annotate.pose import head_pose
from adaptface_jax.annotate.quality import quality_of


@dataclasses.dataclass(frozen=True)
class Measures:
    """Of the largest face; if there is none, of the whole image, with None for what only a face has.

    yaw, pitch, roll: degrees, as in `HeadPose`. brightness: 0..255. contrast, side, detail: as in `Quality`.
    face_size: pixels between the eyes, `HeadPose.size`. faces: how many there are.
    """

    yaw: float | None
    pitch: float | None
    roll: float | None
    brightness: float
    contrast: float
    side: float
    detail: float
    face_size: float | None
    faces: int


class Measurer:
    """Images to measures. Raises InputError if the extra `align` is not installed."""

    def __init__(self) -> None:
        self._align = Aligner()

    def __call__(self, image: np.ndarray) -> Measures:
        """image: uint8 [H, W, 3], RGB: a photograph, or any kind of crop."""
        crop = self._align(image)
        if crop is None:
            whole = Image.fromarray(image).resize((CROP_SIZE, CROP_SIZE), Image.Resampling.BOX)
            quality = quality_of(np.asarray(whole))
            return Measures(None, None, None, **dataclasses.asdict(quality), face_size=None, faces=0)
        seen = warp(np.full_like(image, 255), similarity(crop.landmarks, TEMPLATE))[..., 0] > 127
        pose = head_pose(crop.landmarks)
        quality = quality_of(crop.image, seen)
        return Measures(
            pose.yaw, pose.pitch, pose.roll, **dataclasses.asdict(quality), face_size=pose.size, faces=crop.faces
        )
