"""Channel statistics cover all pixels, as in training."""

from __future__ import annotations

import numpy as np
import pytest

from adaptface_jax.core.errors import InputError
from adaptface_jax.data.decode import decode, to_size
from adaptface_jax.data.record import Record, Source
from adaptface_jax.data.statistics import channel_statistics

from .packing import encoded, picture


class Given(Source):
    """The given images."""

    def __init__(self, images):
        self.images = images
        super().__init__(np.zeros(len(images), np.int32), ["any"], "given")

    def __getitem__(self, index):
        return Record(self.images[index], 0, self.key(index))

    def key(self, index):
        return f"image {index}"


def expected(images, size):
    pixels = np.stack([to_size(decode(image, ""), size) for image in images]).reshape(-1, 3) / 255
    return pixels.mean(0), pixels.std(0)


@pytest.mark.parametrize("count", [1, 128, 150])
def test_every_pixel_of_every_image_counts_once(count):
    images = [encoded(picture(i, 6, 6)) for i in range(count)]
    found = channel_statistics(Given(images), 6, threads=0)
    mean, std = expected(images, 6)
    np.testing.assert_allclose(found.mean, mean, rtol=1e-13)
    np.testing.assert_allclose(found.std, std, rtol=1e-12)


def test_images_are_measured_as_in_training():
    gray = encoded(picture(0, 9, 5)[..., 0])
    images = [gray, encoded(picture(1, 12, 12), "JPEG")]
    found = channel_statistics(Given(images), 8)
    np.testing.assert_allclose(found.mean, expected(images, 8)[0], rtol=1e-13)
    (red, green, blue) = channel_statistics(Given([gray]), 8).mean
    assert red == green == blue


def test_threads_do_not_change_a_bit():
    images = Given([picture(i, 6, 6) for i in range(300)])
    assert len({channel_statistics(images, 6, threads) for threads in (0, 1, 3)}) == 1


def test_bad_images_stop_it_or_are_left_out():
    good = [picture(i, 6, 6) for i in range(3)]
    dirty = Given([good[0], b"broken", good[1], b"", good[2]])
    with pytest.raises(InputError, match=r"^given: image 1: cannot decode"):
        channel_statistics(dirty, 6)
    assert channel_statistics(dirty, 6, skip_bad=True) == channel_statistics(Given(good), 6)
    with pytest.raises(InputError, match=r"none of 1 image can be read; the first: given: image 0"):
        channel_statistics(Given([b"broken"]), 6, skip_bad=True)


def test_one_color_normalizes_nothing():
    with pytest.raises(InputError, match="given: a channel has the same value in every pixel"):
        channel_statistics(Given([np.full((6, 6, 3), 7, np.uint8)] * 2), 6)
