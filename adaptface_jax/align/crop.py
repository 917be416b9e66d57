"""One photograph to the crop of its face: found anywhere, then seen again upright."""

from __future__ import annotations

import dataclasses

import numpy as np
from PIL import Image, ImageOps

from adaptface_jax.align.detector import Detector, Face
from adaptface_jax.align.geometry import CROP_SIZE, TEMPLATE, inverse, moved, similarity, warp

# The first look finds faces anywhere, in the photograph made no larger than this. A face that fills the photograph may
# want room around it: where none is found, there is another look with a border.
LONGEST_SIDE = 960
BORDER = 0.25

# Then the face is seen again upright, in a view of this size and scale (1: as in the crop) and in its mirror image.
# Over placements of one face its landmarks then differ by 0.34 pixels of a 92x112 portrait (standard deviation), and by
# 1.07 at the first look. More views made them differ by 0.23, which verification did not feel.
VIEW_SIZE = 320
VIEW_SCALE = 1.2


@dataclasses.dataclass(frozen=True)
class Crop:
    """image: uint8 [112, 112, 3], the largest face. faces: how many the photograph shows. landmarks: float64 [5, 2],
    of the largest, (x, y) in pixels of the photograph."""

    image: np.ndarray
    faces: int
    landmarks: np.ndarray


class Aligner:
    """Photographs to crops. Raises InputError where the extra `align` is not installed."""

    def __init__(self) -> None:
        self._detect = Detector()

    def __call__(self, photograph: np.ndarray) -> Crop | None:
        """The aligned crop of the largest face of a photograph, uint8 [H, W, 3], RGB; None where no face is found."""
        faces = self._first_look(photograph, 0) or self._first_look(photograph, BORDER)
        if not faces:
            return None
        landmarks = self._second_look(photograph, faces[0])
        crop = warp(photograph, similarity(landmarks, TEMPLATE))
        return Crop(crop, len(faces), landmarks)

    def _first_look(self, photograph: np.ndarray, border: float) -> list[Face]:
        height, width = photograph.shape[:2]
        longest = max(height, width)
        scale = min(1.0, LONGEST_SIDE / longest)
        small = Image.fromarray(photograph)
        if scale < 1:
            size = (max(1, round(width * scale)), max(1, round(height * scale)))
            small = small.resize(size, Image.Resampling.BOX)
        room = round(border * max(small.size))
        canvas = ImageOps.expand(small, room)
        stretch = np.array([width / small.width, height / small.height])
        return [
            Face(
                ((face.box.reshape(2, 2) + 0.5 - room) * stretch - 0.5).ravel(),
                face.score,
                (face.landmarks + 0.5 - room) * stretch - 0.5,
            )
            for face in self._detect(np.asarray(canvas))
        ]

    def _second_look(self, photograph: np.ndarray, face: Face) -> np.ndarray:
        """The face's landmarks, the mean of the view's and its mirror's; of the first look where those show no face."""
        place = (TEMPLATE - (CROP_SIZE - 1) / 2) * VIEW_SCALE + (VIEW_SIZE - 1) / 2
        transform = similarity(face.landmarks, place)
        view = warp(photograph, transform, VIEW_SIZE)
        seen = self._near(view, place) + [mirrored(points) for points in self._near(view[:, ::-1], mirrored(place))]
        return moved(np.mean(seen, axis=0), inverse(transform)) if seen else face.landmarks

    def _near(self, view: np.ndarray, place: np.ndarray) -> list[np.ndarray]:
        """The landmarks, or none, of the face of a view whose landmarks are about at `place`."""
        reach = CROP_SIZE * VIEW_SCALE / 4
        return [face.landmarks for face in self._detect(view) if np.abs(face.landmarks - place).max() < reach][:1]


def mirrored(landmarks: np.ndarray) -> np.ndarray:
    """Landmarks [5, 2] in the mirror image of the view: the left eye becomes the right one."""
    return (landmarks * [-1, 1] + [VIEW_SIZE - 1, 0])[[1, 0, 2, 4, 3]]
