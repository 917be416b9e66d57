# SPDX-License-Identifier: Apache-2.0
"""WebDataset tars: every image with its class, and what is cut off or incomplete is refused."""

from __future__ import annotations

import io
import pickle
import tarfile
from pathlib import Path

import pytest

from adaptface_jax.core.errors import InputError
from adaptface_jax.data.sources.from_path import open_source

from .packing import encoded, picture

IMAGES = [encoded(picture(number, 8, 8)) for number in range(6)]


def write_tar(path: Path, files: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def samples(numbers: range, ending: str = "png") -> dict[str, bytes]:
    files = {}
    for number in numbers:
        files[f"./part/{number:06d}.{ending}"] = IMAGES[number]
        files[f"./part/{number:06d}.cls"] = f"{10 * (number // 2)}\n".encode()
        files[f"./part/{number:06d}.json"] = b"{}"
    return files


def test_every_image_with_its_class(tmp_path):
    write_tar(tmp_path / "train-0.tar", samples(range(3)))
    write_tar(tmp_path / "train-1.tar", samples(range(3, 6), "JPG"))
    write_tar(tmp_path / "val-0.tar", samples(range(2)))
    source = pickle.loads(pickle.dumps(open_source(str(tmp_path))))
    assert [source[i].image for i in range(6)] == IMAGES
    assert source.labels.tolist() == [source[i].label for i in range(6)] == [0, 0, 1, 1, 2, 2]
    assert list(source.class_names) == ["0", "10", "20"]
    assert source.key(3) == source[3].key == "train-1.tar/./part/000003"
    assert source.skipped_files.lines() == ["skipped: 1 file (1 .tar)"]
    assert len(open_source(str(tmp_path / "train-0.tar"))) == 3


def cut(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


def corrupt(path: Path) -> None:
    content = bytearray(path.read_bytes())
    place = content.rindex(b"./part/000002.png")
    content[place + 150] ^= 1  # its checksum
    path.write_bytes(content)


REFUSED = {
    "cut between files": (lambda path: cut(path, 9 * 1024), "has no end at byte 9216"),
    "cut within a file": (lambda path: cut(path, 9 * 1024 - 300), "cannot be read"),
    "a corrupted header": (corrupt, r"has no end at byte \d+"),
    "an image without a class": (
        lambda path: write_tar(path, {**samples(range(3)), "x.png": IMAGES[0]}),
        r"x has no \.cls; expected a WebDataset tar",
    ),
    "an empty class": (lambda path: write_tar(path, {**samples(range(3)), "x.cls": b" "}), r"x\.cls holds no class"),
    "two images": (lambda path: write_tar(path, {**samples(range(3)), "./part/000000.jpg": b"x"}), "has two images"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_incomplete_gives_one_line(tmp_path, case):
    change, reason = REFUSED[case]
    path = write_tar(tmp_path / "set.tar", samples(range(3)))
    change(path)
    with pytest.raises(InputError, match=reason) as caught:
        open_source(str(tmp_path))
    assert "\n" not in str(caught.value) and "set.tar" in str(caught.value)


def test_other_tars_are_to_be_unpacked(tmp_path):
    write_tar(tmp_path / "faces.tar", {"anna/1.png": IMAGES[0], "bert/1.png": IMAGES[1]})
    for path in (tmp_path, tmp_path / "faces.tar"):
        with pytest.raises(InputError, match=r"unpack it, and name its folder$"):
            open_source(str(path))
