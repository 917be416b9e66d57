# SPDX-License-Identifier: Apache-2.0
"""From images in any form, one at a time, to the faces that the model takes."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import numpy as np
from PIL import Image

from adaptface_jax.align.crop import Aligner
from adaptface_jax.align.geometry import CROP_SIZE
from adaptface_jax.api.arguments import is_yes_or_no
from adaptface_jax.api.image_forms import (
    EXPECTED,
    ImageLike,
    Images,
    collection,
    each_image,
    is_path,
    is_pixels,
    one_image,
)
from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import shown
from adaptface_jax.data.decode import decode, to_size
from adaptface_jax.data.image_files import read_file

Align = bool | Literal["auto"]

THREADS = 4  # that read and align ahead of the model


@dataclasses.dataclass(frozen=True)
class Photograph:
    """One image, and how its face was cropped.

    name: its path, or "image 0" for pixels. path: None for pixels. image: uint8 [H, W, 3], RGB, what the model sees
    (resized to its size): the crop where it was aligned, else the whole image. faces: how many faces the detector found
    in it, of which the largest was aligned; None if the image counted as a crop.

    >>> import adaptface_jax as af, numpy as np
    >>> crop = np.zeros((112, 112, 3), np.uint8)
    >>> decision = af.open("builtin", image_size=28).verify(crop + 9, crop + 99, threshold=1.2)
    >>> print(decision.photographs[0])
    image 0: 112x112, used as an aligned crop
    """

    name: str
    path: str | None
    image: np.ndarray = dataclasses.field(repr=False)
    faces: int | None

    def __str__(self) -> str:
        return f"{shown(self.name)}: {self.taken}"

    @property
    def taken(self) -> str:
        """How its face was cropped, in words."""
        if self.faces is None:
            height, width = self.image.shape[:2]
            return f"{width}x{height}, used as an aligned crop"
        return "aligned" + (f", the largest of {self.faces} faces" if self.faces > 1 else "")


class Cropper:
    """Reads images and aligns those that need it; thread-safe.

    stored: side in pixels of what the model sees. crops: sides of the images that "auto" treats as aligned crops.
    """

    def __init__(self, stored: int = CROP_SIZE, crops: Sequence[int] = (CROP_SIZE,)) -> None:
        self._stored, self._crops = stored, crops
        self._aligner: Aligner | None = None
        self._lock = threading.Lock()

    def __call__(self, image: ImageLike, number: int, align: Align) -> Photograph:
        """One image, turned upright.

        align: "auto" aligns all but aligned crops, True all, False none.
        Raises InputError if it is not an image, shows no face to align, or the extra `align` is missing.
        """
        image = one_image(image, number)
        path = os.fsdecode(image) if isinstance(image, str | os.PathLike) else None
        name = f"image {number}" if path is None else path
        if path is not None:
            pixels = decode(read_file(path), shown(path))
        elif isinstance(image, Image.Image):
            with self._lock:  # Pillow reads a file when its pixels are first needed
                pixels = decode(image, name)
        elif isinstance(image, bytes | np.ndarray):
            pixels = decode(image, name)
        else:
            raise InputError(f"{name}: is a {type(image).__name__}; expected {EXPECTED}")
        if not align or (align == "auto" and pixels.shape in [(side, side, 3) for side in self._crops]):
            return Photograph(name, path, pixels, None)
        with self._lock:
            self._aligner = self._aligner or Aligner()
            crop = self._aligner(pixels)
        if crop is None:
            crops = "" if align != "auto" else f" of {' or '.join(f'{side}x{side}' for side in sorted({*self._crops}))}"
            raise InputError(
                f"{shown(name)}: no face was found; expected a photograph of a face, or its aligned crop{crops}"
            )
        return Photograph(name, path, crop.image, crop.faces)

    def seen(self, image: ImageLike, number: int, align: Align) -> np.ndarray:
        """What the model sees of an image, uint8 [stored, stored, 3]; raises InputError as the call does."""
        return to_size(self(image, number, align).image, self._stored)

    def sees(self, image: object, align: Align) -> bool:
        """Whether the model sees an image as it is: pixels of the stored size that are not to be aligned."""
        side = self._stored
        as_it_is = not align or (align == "auto" and side in self._crops)
        return as_it_is and is_pixels(image, side)


def read_ahead(
    photograph: Callable[[str], Photograph], paths: Sequence[str], rows: int
) -> Iterator[list[tuple[str, Photograph | InputError]]]:
    """The photographs in files, `rows` at a time, each with its path, read and aligned by threads; for an unusable one,
    the reason."""

    def one(path: str) -> tuple[str, Photograph | InputError]:
        try:
            return path, photograph(path)
        except InputError as error:
            return path, error

    with concurrent.futures.ThreadPoolExecutor(THREADS) as threads:
        for start in range(0, len(paths), rows):
            yield list(threads.map(one, paths[start : start + rows]))


class Photographs(Sequence[np.ndarray]):
    """The photographs in some files; indexing gives what the model sees, uint8 [stored, stored, 3], or raises
    InputError as `Cropper` does.
    """

    def __init__(self, paths: Sequence[str], cropper: Cropper, align: Align) -> None:
        self._paths, self._cropper, self._align = paths, cropper, align

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: Any) -> Any:
        return self._cropper.seen(self._paths[index], index, self._align)


class Part(Sequence[Any]):
    """Consecutive images; indexing gives what the model sees of one, uint8 [stored, stored, 3].

    paths: of each image, None for pixels. ready: whether there is nothing to read, resize or align.
    """

    def __init__(self, items: Sequence[Any], start: int, cropper: Cropper, align: Align, seen: bool = False) -> None:
        """start: the number of the first image. seen: whether pixels are already what the model sees."""
        self._items, self._start, self._cropper, self._align, self._seen = items, start, cropper, align, seen
        self.paths = [os.fsdecode(item) if is_path(item) else None for item in items]
        self.ready = all((seen and not is_path(item)) or cropper.sees(item, align) for item in items)

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: Any) -> Any:
        item = self._items[index]
        if self._seen and not is_path(item):
            return item
        return self._cropper.seen(item, self._start + index, self._align)


def parts(images: Images, size: int, cropper: Cropper, align: Align) -> Iterator[Part]:
    """All images in parts; what the caller already holds (a list, a tuple, an array) is one part.

    Files are read when a part is indexed, which threads do ahead of the device. An iterator is read a part at a time:
    `size` images, or a quarter as many if it yields pixels; of those only what the model sees is kept.
    """
    images = collection(images)
    items = each_image(images)
    if isinstance(images, list | tuple | np.ndarray):
        yield Part(list(items), 0, cropper, align)
        return
    some: list[Any] = []
    start, pixels = 0, 0
    for number, item in enumerate(items):
        if is_path(item):
            some.append(item)
        else:
            some.append(cropper.seen(item, number, align))
            pixels += 1
        if len(some) == size or 4 * pixels >= size:
            yield Part(some, start, cropper, align, seen=True)
            some, start, pixels = [], number + 1, 0
    if some:
        yield Part(some, start, cropper, align, seen=True)


def check_align(align: object) -> None:
    """Raise InputError for anything but an `Align`."""
    if not (is_yes_or_no(align) or (isinstance(align, str) and align == "auto")):
        raise InputError(f"align: {align!r} is not known; expected 'auto', True or False")
