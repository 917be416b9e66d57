# SPDX-License-Identifier: Apache-2.0
"""Tiny-ImageNet as published (Stanford CS231n; 200 classes of ImageNet, 64 x 64 pixels).

wnids.txt                     the classes, one per line, in order; if missing, the folders of train/
words.txt                     `n02124075<TAB>Egyptian cat`: readable names; may be missing
train/WNID/images/*.JPEG      or without images/
val/images/*.JPEG             val/val_annotations.txt: lines of `val_0.JPEG<TAB>WNID<TAB>box`; or, as often rearranged,
                              val/WNID/*.JPEG, val/WNID/images/*.JPEG or val/images/WNID/*.JPEG
test/images/*.JPEG            unlabeled, skipped
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import plural, shown
from adaptface_jax.data.image_files import images_below, skipped_beside
from adaptface_jax.data.record import Source
from adaptface_jax.data.skipped_files import SkippedFiles
from adaptface_jax.data.sources.folders import identity_names, image_names
from adaptface_jax.data.sources.listed_files import ListedFiles
from adaptface_jax.data.text_array import TextArray
from adaptface_jax.data.text_lines import lines

CLASSES, WORDS = "wnids.txt", "words.txt"
ANNOTATIONS = Path("val", "val_annotations.txt")


def is_tiny_imagenet(folder: Path) -> bool:
    """Whether the list of classes or the annotations exist."""
    return (folder / CLASSES).is_file() or (folder / ANNOTATIONS).is_file()


def open_tiny_imagenet(folder: Path) -> dict[str, Source]:
    """The labeled parts `train` (by class, then by name) and `validation` (in the order of its annotations, or by class
    where it has folders of classes).

    Classes are in the order of wnids.txt, named by their first word in words.txt if that is unique.
    Raises InputError for a list that is missing or malformed, for a class that has no training image or is unknown,
    and if the images and the annotations of val/ do not match.
    """
    wnids = _classes(folder / CLASSES) if (folder / CLASSES).is_file() else identity_names(folder / "train")
    names = _readable(folder / WORDS, wnids)
    place = f"in {shown(str(folder))}"
    if not (folder / CLASSES).is_file():
        place += f", which has no {CLASSES}: classes by the folders of train/"
    passed = "; the images of test/ have no labels and are skipped" if (folder / "test").is_dir() else ""
    files, counts = [], []
    for wnid in wnids:
        images = Path("train", wnid)
        if (folder / images / "images").is_dir() or not (folder / images).is_dir():
            images /= "images"
        found = image_names(folder / images)
        if not found:
            raise InputError(f"{shown(str(folder / images))}: holds no image; {CLASSES} names the class {wnid}")
        files += [str(images / name) for name in found]
        counts.append(len(found))
    labels = np.repeat(np.arange(len(wnids), dtype=np.int32), counts)
    validation, said = _in_class_folders(folder, wnids), ", by its folders"
    if not validation:
        annotated, said = _annotations(folder, wnids), ""
        validation = {f"val/images/{name}": number for name, number in annotated.items()}
    train = ListedFiles(folder, TextArray.of(files), labels, names, f"Tiny-ImageNet train {place}{passed}")
    own = {*files, *validation, CLASSES, WORDS, str(ANNOTATIONS)}
    train.skipped_files = skipped_beside(folder, own, "of no class")
    return {
        "train": train,
        "validation": ListedFiles(
            folder,
            TextArray.of(validation),
            np.fromiter(validation.values(), np.int32, len(validation)),
            names,
            f"Tiny-ImageNet val {place}{said}",
        ),
    }


def _classes(path: Path) -> list[str]:
    found: dict[str, int] = {}
    for line in lines(path, "one class (n02124075) per line"):
        if line.text in found:
            line.refuse(f"is also on line {found[line.text]}", "each class once")
        if len(line.text.split()) > 1 or Path(line.text).name != line.text or len(line.text) > 80:
            line.refuse("is not a class", "e.g. n02124075")
        found[line.text] = line.number
    if not found:
        raise InputError(f"{shown(str(path))}: is empty; expected one class (n02124075) per line")
    return list(found)


def _readable(path: Path, wnids: list[str]) -> list[str]:
    """The first of each class's words if no other class shares it, otherwise its name in wnids.txt."""
    words = dict.fromkeys(wnids, "")
    if path.is_file():
        for line in lines(path, "lines of class, tab, words"):
            wnid, _, text = line.text.partition("\t")
            if wnid in words:
                words[wnid] = text.split(",")[0].strip()
    times = Counter(words.values())
    return [word if word and times[word] == 1 else wnid for wnid, word in words.items()]


def _in_class_folders(folder: Path, wnids: list[str]) -> dict[str, int]:
    """The class of each image of val/ by the folder that it is in, by path; none if there are no such folders."""
    for place in (Path("val"), Path("val", "images")):
        found = {
            str(place / wnid / name): number
            for number, wnid in enumerate(wnids)
            if (folder / place / wnid).is_dir()
            for name in images_below(folder / place / wnid, SkippedFiles())
        }
        if found:
            return found
    return {}


def _annotations(folder: Path, wnids: list[str]) -> dict[str, int]:
    """The class of each image of val/, by name, in the order of the file."""
    file, numbers = folder / ANNOTATIONS, {wnid: number for number, wnid in enumerate(wnids)}
    found: dict[str, int] = {}
    expected = "image, tab, class, tab, box"
    for line in lines(file, f"lines of {expected}"):
        name, _, rest = line.text.partition("\t")
        wnid = rest.partition("\t")[0]
        if not wnid:
            line.refuse("has only one column", expected)
        if wnid not in numbers:
            line.refuse(f"the class {shown(wnid)} is not in {CLASSES}", f"one of the {len(wnids)} there")
        if name in found:
            line.refuse("the image is annotated twice", "each image once")
        found[name] = numbers[wnid]
    images = image_names(folder / ANNOTATIONS.with_name("images"))
    there = set(images)
    for names, problem in (
        ([name for name in found if name not in there], f"lacks {{}} that {file.name} names"),
        ([name for name in images if name not in found], f"holds {{}} that {file.name} does not name"),
    ):
        if names:
            what = f"{problem.format(plural(len(names), 'image'))}, the first: {shown(names[0])}"
            raise InputError(f"{shown(str(file.parent))}: {what}; unpack the dataset again")
    if not found:
        raise InputError(f"{shown(str(file))}: is empty; expected lines of {expected}")
    return found
