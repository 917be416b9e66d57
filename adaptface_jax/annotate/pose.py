"""Head pose from five landmarks: a 3D mean face under scaled orthographic projection.

The fit is that of DeMenthon and Davis, "Model-based object pose in 25 lines of code", 1995 (POS), its two rows replaced
by the nearest rotation.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.spatial.transform import Rotation

from adaptface_jax.align.geometry import TEMPLATE

# In units of the distance between the eyes: how far the tip of the nose and the corners of the mouth protrude, and how
# much lower the detector places that tip than the template of aligned crops. The last sets the median pitch of frontal
# faces to +2 degrees in film frames and -5 in (smiling) photographs.
_NOSE, _MOUTH, _LOWER = 0.5, 0.1, 0.08


def _mean_face() -> np.ndarray:
    """float64 [5, 3], centered; x to the right of the image, y down, z away from the camera."""
    eyes = TEMPLATE[1, 0] - TEMPLATE[0, 0]
    flat = (TEMPLATE - TEMPLATE.mean(axis=0)) / eyes
    # The template is a mean of faces and a fifth of a pixel asymmetric; a head at rest is symmetric.
    mirrored = flat[[1, 0, 2, 4, 3]] * [-1, 1]
    face = np.column_stack([(flat + mirrored) / 2, [0, 0, -_NOSE, -_MOUTH, -_MOUTH]])
    face[2, 1] += _LOWER
    return face - face.mean(axis=0)


MEAN_FACE = _mean_face()
_INVERSE = np.linalg.pinv(MEAN_FACE)


@dataclasses.dataclass(frozen=True)
class HeadPose:
    """yaw, pitch, roll: degrees, each 0 for a frontal upright face; yaw is positive if it looks to the right of the
    image, pitch if it looks up, roll if it is rotated clockwise. size: pixels between the eyes of the fitted mean face,
    so that turning the head does not reduce it.
    """

    yaw: float
    pitch: float
    roll: float
    size: float


def head_pose(landmarks: np.ndarray) -> HeadPose:
    """The pose of a face from its landmarks, float [5, 2], (x, y) in TEMPLATE's order, not all at one point."""
    rows = (_INVERSE @ (landmarks - landmarks.mean(axis=0))).T
    left, scales, right = np.linalg.svd(rows, full_matrices=False)
    first, second = left @ right
    turn = Rotation.from_matrix(np.stack([first, second, np.cross(first, second)]))
    # Roll comes last, in the image plane: it rotates the image of a head that is pitched, then yawed.
    roll, yaw, pitch = turn.as_euler("ZYX", degrees=True)
    return HeadPose(float(-yaw), float(-pitch), float(roll), float(scales.mean()))
