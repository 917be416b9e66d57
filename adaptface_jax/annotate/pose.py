"""How a head is turned, from five landmarks: a mean face in space, under scaled orthographic projection.

The fit is that of DeMenthon and Davis, "Model-based object pose in 25 lines of code", 1995 (POS), its two rows brought
to the nearest rotation.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.spatial.transform import Rotation

from adaptface_jax.align.geometry import TEMPLATE

# In distances between the eyes: how far the tip of the nose and the corners of the mouth stand out, and how much lower
# the detector sees that tip than the template of aligned crops has it. The last brings the median pitch of frontal
# faces to +2 degrees in film frames and -5 in (smiling) photographs.
_NOSE, _MOUTH, _LOWER = 0.5, 0.1, 0.08


def _mean_face() -> np.ndarray:
    """float64 [5, 3], centered; x to the right of the image, y down, z away from the camera."""
    eyes = TEMPLATE[1, 0] - TEMPLATE[0, 0]
    flat = (TEMPLATE - TEMPLATE.mean(axis=0)) / eyes
    # The template is a mean of faces and lies a fifth of a pixel askew; a head at rest has two equal halves.
    mirrored = flat[[1, 0, 2, 4, 3]] * [-1, 1]
    face = np.column_stack([(flat + mirrored) / 2, [0, 0, -_NOSE, -_MOUTH, -_MOUTH]])
    face[2, 1] += _LOWER
    return face - face.mean(axis=0)


MEAN_FACE = _mean_face()
_INVERSE = np.linalg.pinv(MEAN_FACE)


@dataclasses.dataclass(frozen=True)
class HeadPose:
    """yaw, pitch, roll: degrees, each 0 for a frontal upright face; yaw is positive where it looks to the right of the
    image, pitch where it looks up, roll where it is turned clockwise. size: pixels between the eyes of the mean face
    that fits, so that turning makes no face smaller.
    """

    yaw: float
    pitch: float
    roll: float
    size: float


def head_pose(landmarks: np.ndarray) -> HeadPose:
    """The pose of a face by its landmarks, float [5, 2], (x, y) in TEMPLATE's order, not all in one point."""
    rows = (_INVERSE @ (landmarks - landmarks.mean(axis=0))).T
    left, scales, right = np.linalg.svd(rows, full_matrices=False)
    first, second = left @ right
    turn = Rotation.from_matrix(np.stack([first, second, np.cross(first, second)]))
    # The roll of a picture comes last: it turns the picture of a head that is raised, then turned aside.
    roll, yaw, pitch = turn.as_euler("ZYX", degrees=True)
    return HeadPose(float(-yaw), float(-pitch), float(roll), float(scales.mean()))
