"""A batch of images gets flips, rotations, color changes and crops in torchvision's order, each image by its own
key."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec
from PIL import Image, ImageOps

from adaptface_jax.core.errors import InputError
from adaptface_jax.data.augmentation.classification import augment_images
from adaptface_jax.data.augmentation.color_jitter import Changes, draw
from adaptface_jax.data.augmentation.random_crop import Box, draw_box
from adaptface_jax.data.augmentation.rotation import draw_angle

from ..packing import picture
from .torchvision_by_pillow import jitter, resized_crop

IMAGES = np.stack([picture(seed, 24, 24) for seed in range(16)])
OFF = {"flip": False, "rotation": 0.0, "brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}
OFF |= {"crop_scale": None, "crop_ratio": (1.0, 1.0)}
COLORS = {"brightness": 0.2, "contrast": 0.2, "saturation": 0.2, "hue": 0.1}
ALL = {"flip": True, "rotation": 15.0, **COLORS, "crop_scale": (0.8, 1.0), "crop_ratio": (1.0, 1.0)}


def test_all_off_changes_nothing_and_computes_nothing():
    np.testing.assert_array_equal(augment_images(jax.random.key(0), IMAGES, **OFF), IMAGES)
    program = augment_images.trace(jax.random.key(0), IMAGES, **OFF).jaxpr
    assert not program.jaxpr.eqns


def test_about_half_are_mirrored_and_the_rest_untouched():
    images = np.tile(IMAGES, (16, 1, 1, 1))
    found = np.asarray(augment_images(jax.random.key(0), images, **OFF | {"flip": True}))
    mirrored = (found == images[:, :, ::-1]).all((1, 2, 3))
    untouched = (found == images).all((1, 2, 3))
    assert (mirrored ^ untouched).all()
    assert 0.4 < mirrored.mean() < 0.6


@jax.jit
@jax.vmap
def drawn(key: jax.Array) -> tuple[jax.Array, jax.Array, Changes, Box]:
    """Flip, angle, colors and box of one image, as drawn from its key."""
    flip_key, rotation_key, color_key, crop_key = jax.random.split(key, 4)
    return (
        jax.random.bernoulli(flip_key),
        draw_angle(rotation_key, ALL["rotation"]),
        draw(color_key, **COLORS),
        draw_box(crop_key, *IMAGES.shape[1:3], ALL["crop_scale"], ALL["crop_ratio"]),
    )


def test_all_together_are_pillows_in_torchvisions_order():
    key = jax.random.key(2)
    found = np.asarray(augment_images(key, IMAGES, **ALL))
    numbers = jax.tree.map(np.asarray, drawn(jax.random.split(key, len(IMAGES))))
    for row, image in enumerate(IMAGES):
        flip, angle, changes, box = jax.tree.map(lambda part, row=row: part[row], numbers)
        expected = Image.fromarray(image)
        expected = ImageOps.mirror(expected) if flip else expected
        expected = resized_crop(jitter(expected.rotate(float(angle)), changes), box)
        np.testing.assert_array_equal(found[row], np.asarray(expected))


def test_an_image_is_changed_by_its_row_not_by_its_neighbors():
    found = np.asarray(augment_images(jax.random.key(1), IMAGES, **ALL))
    others = IMAGES.copy()
    others[:5], others[6:] = 255 - IMAGES[:5], IMAGES[5]
    np.testing.assert_array_equal(augment_images(jax.random.key(1), others, **ALL)[5], found[5])


def test_an_image_is_changed_alone_as_in_a_batch():
    moves = OFF | {"flip": True, "rotation": 90.0}
    found = np.asarray(augment_images(jax.random.key(1), IMAGES, **moves))
    np.testing.assert_array_equal(augment_images(jax.random.key(1), IMAGES[:1], **moves), found[:1])


def test_the_key_decides_and_each_image_has_its_own():
    same = np.tile(IMAGES[:1], (16, 1, 1, 1))
    first = np.asarray(augment_images(jax.random.key(1), same, **ALL))
    assert len({image.tobytes() for image in first}) == 16
    assert (first != np.asarray(augment_images(jax.random.key(2), same, **ALL))).any((1, 2, 3)).all()
    assert (first.shape, first.dtype) == (same.shape, np.uint8)


def test_sharding_the_batch_changes_nothing():
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    sharded = jax.device_put(IMAGES, NamedSharding(mesh, PartitionSpec("data")))
    found = augment_images(jax.random.key(1), sharded, **ALL)
    np.testing.assert_array_equal(found, augment_images(jax.random.key(1), IMAGES, **ALL))


@pytest.mark.parametrize(
    "setting",
    [{"rotation": 200.0}, {"rotation": -5.0}, {"brightness": -0.1}, {"hue": 0.7}, {"crop_scale": (1.0, 0.5)}],
)
def test_a_setting_outside_its_range_is_refused_by_its_name(setting):
    with pytest.raises(InputError, match=rf"^augment\.{next(iter(setting))}"):
        augment_images(jax.random.key(0), IMAGES, **OFF | setting)
