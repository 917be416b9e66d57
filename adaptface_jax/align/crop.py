"""One photograph to the crop of its face: detected anywhere, then detected again upright."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image, ImageOps

from adaptface_jax.align.detector import Detector, Face
from adaptface_jax.align.geometry import CROP_SIZE, TEMPLATE, inverse, moved, similarity, warp
from adaptface_jax.align.prefer import PREFER

# The passes over a photograph, each tried if those before found no face: the maximum side in pixels, and the border as
# a fraction of the longer side. A face that fills its photograph may need space around it, or be too large for the
# detector (of 20 portraits it misses 5 at 960 pixels, none at 320).
Look = tuple[int, float]
LOOKS: tuple[Look, ...] = ((960, 0.0), (960, 0.25), (320, 0.0), (320, 0.25))

# If these find no face, the photograph is rotated by quarter turns, without a border, since rotated faces are rare; so
# it is if the best score is below SURE, and a rotated face whose score is higher by BETTER is taken instead: the
# detector finds some sideways or upside-down faces with lower scores and mistakes them for upright ones.
TURNS, TURNED_LOOKS = (1, 2, 3), ((960, 0.0), (320, 0.0))
SURE, BETTER = 0.8, 0.1

# Then the face is detected again upright, in a view of this size and scale (1: as in the crop) and in its mirror image.
# Over placements of one face its landmarks then vary by 0.34 pixels of a 92x112 portrait (standard deviation), and by
# 1.07 after the first pass. More views reduced that to 0.23, without an effect on verification.
VIEW_SIZE = 320
VIEW_SCALE = 1.2


# The center crop of a photograph in which no face was found, as a fraction of its shorter side. LFW's photographs are
# 2.2 times the face detector's box around which they were cut, and an aligned crop is 1.2 times that box.
CENTER = 0.55


@dataclasses.dataclass(frozen=True)
class Crop:
    """image: uint8 [112, 112, 3], a face. faces: how many are in the photograph. landmarks: float64 [5, 2], of this
    face, (x, y) in pixels of the photograph."""

    image: np.ndarray
    faces: int
    landmarks: np.ndarray


class Aligner:
    """Photographs to crops.

    prefer: one of PREFER. margin: extra border on each side, as a fraction of the usual crop.
    Raises InputError if the extra `align` is not installed.
    """

    def __init__(self, prefer: str = PREFER[0], margin: float = 0.0) -> None:
        self._detect = Detector()
        self._prefer, self._margin = prefer, margin

    def __call__(self, photograph: np.ndarray) -> Crop | None:
        """The aligned crop of the preferred face of a photograph, uint8 [H, W, 3], RGB; None if no face is found."""
        return next(self.each(photograph), None)

    def each(self, photograph: np.ndarray) -> Iterator[Crop]:
        """The crops of all faces, the preferred one first."""
        faces = self._faces(photograph)
        middle = (TEMPLATE - (CROP_SIZE - 1) / 2) / (1 + 2 * self._margin) + (CROP_SIZE - 1) / 2
        for face in faces:
            landmarks = self._second_look(photograph, face)
            yield Crop(warp(photograph, similarity(landmarks, middle)), len(faces), landmarks)

    def center(self, photograph: np.ndarray) -> np.ndarray:
        """uint8 [112, 112, 3], the center crop of a photograph in which no face was found."""
        height, width = photograph.shape[:2]
        side = min(height, width) * min(CENTER * (1 + 2 * self._margin), 1.0)
        left, top = (width - side) / 2, (height - side) / 2
        size = (CROP_SIZE, CROP_SIZE)
        box = (left, top, left + side, top + side)
        return np.asarray(Image.fromarray(photograph).resize(size, Image.Resampling.BICUBIC, box))

    def _faces(self, photograph: np.ndarray) -> list[Face]:
        """All faces of the first pass that finds any, the preferred one first."""
        height, width = photograph.shape[:2]
        faces = self._upright(photograph) or self._turned(photograph, TURNED_LOOKS)
        return faces if self._prefer == PREFER[0] else nearest_first(faces, width, height)

    def _upright(self, photograph: np.ndarray) -> list[Face]:
        for look in _different(LOOKS, photograph):
            if faces := self._look(photograph, *look):
                turned = [] if surest(faces) >= SURE else self._turned(photograph, [look])
                return turned if surest(turned) > surest(faces) + BETTER else faces
        return []

    def _turned(self, photograph: np.ndarray, looks: Sequence[Look]) -> list[Face]:
        """The faces of the quarter turn with the highest score, in the first pass that finds any."""
        height, width = photograph.shape[:2]
        for look in _different(looks, photograph):
            found = {turns: self._look(np.rot90(photograph, turns), *look) for turns in TURNS}
            turns = max(TURNS, key=lambda turns: surest(found[turns]))
            if found[turns]:
                return [face.turned(turns, width, height) for face in found[turns]]
        return []

    def _look(self, photograph: np.ndarray, side: int, border: float) -> list[Face]:
        """The faces, the largest first, of a photograph reduced to at most `side` pixels, with a border."""
        height, width = photograph.shape[:2]
        scale = min(1.0, side / max(height, width))
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
        """A face's landmarks: the mean over the view and its mirror image, or the first pass's if neither shows one."""
        place = (TEMPLATE - (CROP_SIZE - 1) / 2) * VIEW_SCALE + (VIEW_SIZE - 1) / 2
        transform = similarity(face.landmarks, place)
        view = warp(photograph, transform, VIEW_SIZE)
        seen = self._near(view, place) + [mirrored(points) for points in self._near(view[:, ::-1], mirrored(place))]
        return moved(np.mean(seen, axis=0), inverse(transform)) if seen else face.landmarks

    def _near(self, view: np.ndarray, place: np.ndarray) -> list[np.ndarray]:
        """The landmarks, or none, of the face in a view whose landmarks lie near `place`."""
        reach = CROP_SIZE * VIEW_SCALE / 4
        return [face.landmarks for face in self._detect(view) if np.abs(face.landmarks - place).max() < reach][:1]


def surest(faces: Sequence[Face]) -> float:
    """The highest score; 0 if there are none."""
    return max((face.score for face in faces), default=0.0)


def _different(looks: Sequence[Look], photograph: np.ndarray) -> list[Look]:
    """The passes without those that coincide because the photograph is already small."""
    longest = max(photograph.shape[:2])
    return list({(min(side, longest), border): (side, border) for side, border in reversed(looks)}.values())[::-1]


def nearest_first(faces: Sequence[Face], width: int, height: int) -> list[Face]:
    """Sorted by the distance of their centers from the photograph's."""
    middle = np.array([width - 1, height - 1]) / 2
    return sorted(faces, key=lambda face: float(np.hypot(*(face.box.reshape(2, 2).mean(axis=0) - middle))))


def mirrored(landmarks: np.ndarray) -> np.ndarray:
    """Landmarks [5, 2] in the mirror image of the view: the left eye becomes the right one."""
    return (landmarks * [-1, 1] + [VIEW_SIZE - 1, 0])[[1, 0, 2, 4, 3]]
