"""Synthetic sets of people to search for, in the published layouts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.io import savemat

from .forms import write_faces

GALLERY, PROBES = ("G1", "G2"), "mixed"


def write_ijb(folder: Path, people: int = 12, probes: int = 2, pairs: bool = True) -> dict[int, int]:
    """IJB's lists, 1:1 and 1:N: each person has a template of two faces in one of the two galleries, and some probe
    templates of one face. Returns template -> subject."""
    faces, subject, number = [], {}, 0
    rows: dict[str, list[str]] = {part: [] for part in (*GALLERY, PROBES)}
    for person in range(people):
        for part in (GALLERY[person % 2], *(PROBES for _ in range(probes))):
            template = 100 + 7 * len(subject)
            subject[template] = 1000 + person
            for _ in range(1 + (part != PROBES)):
                number += 1
                faces.append(f"{number}.png {template} {number}")
                # The published lists continue with file, sighting and box, one row per face.
                rows[part].append(f"{template},{1000 + person},img/{number}.jpg,{number},1,2,30,40")
    meta = folder / "meta"
    meta.mkdir(parents=True)
    write_faces(folder / "loose_crop", [f"{i + 1}.png" for i in range(number)])
    (meta / "ijbc_face_tid_mid.txt").write_text("\n".join(faces) + "\n")
    for part, lines in rows.items():
        name = f"gallery_{part}" if part in GALLERY else f"probe_{part}"
        header = "TEMPLATE_ID,SUBJECT_ID,FILENAME,SIGHTING_ID,FACE_X,FACE_Y,FACE_WIDTH,FACE_HEIGHT"
        (meta / f"ijbc_1N_{name}.csv").write_text("\n".join([header, *lines]) + "\n")
    if pairs:
        first, *others = subject
        listed = [f"{first} {other} {int(subject[first] == subject[other])}" for other in others]
        (meta / "ijbc_template_pair_label.txt").write_text("\n".join(listed) + "\n")
    return subject


def write_tinyface(folder: Path, lists: bool = True, distractors: int = 5) -> None:
    """TinyFace: four people with one to three images in the gallery, two probes of each."""
    names: dict[str, list[str]] = {"Gallery_Match": [], "Probe": []}
    for person in range(1, 5):
        names["Gallery_Match"] += [f"{person}_{image}.png" for image in range(1 + person % 3)]
        names["Probe"] += [f"{person}_{image}.png" for image in (7, 8)]
    every = [f"{part}/{name}" for part, found in names.items() for name in found]
    write_faces(folder, [*every, *(f"Gallery_Distractor/{i}.png" for i in range(distractors))])
    if lists:
        for part, prefix in (("Gallery_Match", "gallery_match"), ("Probe", "probe")):
            write_list(folder / f"{prefix}_img_ID_pairs.mat", prefix.partition("_")[0], names[part])


def write_list(file: Path, noun: str, names: list[str], ids: list[float] | None = None) -> None:
    """The .mat list of a part, as MATLAB writes it: one cell per name, and a column of numbers."""
    cells = np.empty((len(names), 1), object)
    cells[:, 0] = names
    numbers = np.array([[int(name.split("_")[0])] for name in names] if ids is None else [[i] for i in ids])
    savemat(file, {f"{noun}_set": cells, f"{noun}_ids": numbers})
