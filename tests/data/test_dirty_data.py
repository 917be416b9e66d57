# SPDX-License-Identifier: Apache-2.0
"""Bad input of every kind: one line that names it, or skipped and counted, as configured; odd input is read correctly.

Four tables: images (what a record holds), sets (what `data.train` names), records of a set that opens, benchmarks.
"""

from __future__ import annotations

import io
import itertools
import json
import os
import pickle
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adaptface_jax.core.errors import InputError
from adaptface_jax.data.bad_records import FILE, BadRecord, BadRecords
from adaptface_jax.data.benchmarks.from_path import open_benchmark
from adaptface_jax.data.decode import MAX_PIXELS, decode
from adaptface_jax.data.image_files import MAX_BYTES
from adaptface_jax.data.packing import Limit, pack
from adaptface_jax.data.pipeline import batches, record_keys
from adaptface_jax.data.sources.from_path import open_source
from adaptface_jax.data.sources.insightface import InsightFaceSource

from .packing import MAGIC, encoded, frame, header, identity_payloads, picture, write_records

RGB = picture(0, 20, 10)
GRAY = RGB[..., 0]
PNG, JPEG = encoded(RGB), encoded(RGB, "JPEG", quality=95)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, data: bytes = b"", before: bytes = b"", bits: int = 8) -> bytes:
    size = struct.pack(">IIBBBBB", width, height, bits, 2, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(data))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + before + pixels + chunk(b"IEND", b"")


def jpeg(width: int, height: int) -> bytes:
    """A JPEG with another size in its frame header."""
    place = JPEG.index(b"\xff\xc0") + 5
    return JPEG[:place] + struct.pack(">HH", height, width) + JPEG[place + 4 :]


def tiff(width: int, height: int, bits: int = 8, data: bytes = b"", photometric: int = 1) -> bytes:
    """A gray little-endian TIFF of one strip."""
    entries = [(256, 4, width), (257, 4, height), (258, 3, bits), (259, 3, 1), (262, 3, photometric)]
    entries += [(273, 4, 8 + 2 + 12 * 9 + 4), (277, 3, 1), (278, 4, height), (279, 4, len(data))]
    table = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + table + bytes(4) + data


def twelve_bits(levels: np.ndarray) -> bytes:
    """Rows of whole numbers below 4096, two in three bytes."""
    first, second = levels.reshape(-1, 2).astype(np.uint16).T
    return np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], -1).astype(np.uint8).tobytes()


def sixteen_bits(image: np.ndarray) -> bytes:
    """Rows of a PNG without a filter."""
    rows = (image.astype(int) * 256 + 77).astype(">u2")
    return b"".join(b"\0" + row.tobytes() for row in rows)


def flipped(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 255]) + content[at + 1 :]


def saved(image: Image.Image, form: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


# --- images -------------------------------------------------------------------------------------------------------

IMAGES = {
    "an empty file": b"",
    "words": b"these are words",
    "a page that a web server sent instead": b"<!DOCTYPE html><html><body>404</body></html>",
    "half a JPEG": JPEG[: len(JPEG) // 2],
    "a JPEG's header alone": JPEG[: JPEG.index(b"\xff\xda")],
    "a JPEG's first bytes": JPEG[:20],
    "half a PNG": PNG[: len(PNG) // 2],
    "a PNG without its pixels": png(20, 10)[:33] + chunk(b"IEND", b""),
    "a PNG with a changed byte": flipped(PNG, len(PNG) // 2),
    "a PNG with fewer pixels than it claims": png(20, 10, b"\0" * 30),
    "a PNG of no width": png(0, 10),
    "a PNG bomb": png(65500, 65500),
    "a PNG that is somewhat too large": png(MAX_PIXELS // 1000 + 1, 1000),
    "a PNG between Pillow's warning and its error": png(10_000, 10_000),
    "a JPEG bomb": jpeg(65500, 65500),
    "a PPM bomb": b"P6 60000 60000 255\n" + bytes(100),
    "a bomb in the text of a PNG": png(
        20, 10, bytes(610), chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(200 << 20), 9))
    ),
    "half a PPM": encoded(RGB, "PPM")[:100],
    "half a BMP": encoded(RGB, "BMP")[:100],
    "half a WEBP": encoded(RGB, "WEBP")[:60],
    "half a TIFF": encoded(RGB, "TIFF")[:300],
    "half a GIF": encoded(RGB, "GIF")[:120],
    "half an AVIF": encoded(RGB, "AVIF")[:300],
    "a PCX, which is not read": encoded(RGB, "PCX"),
    "pixels of 32 bits": saved(Image.fromarray(GRAY.astype(np.float32)), "TIFF"),
    "whole pixels of 32 bits": saved(Image.fromarray(GRAY.astype(np.int32)), "TIFF"),
    "a TIFF bomb": tiff(60000, 60000),
    "a GIF bomb": b"GIF89a" + struct.pack("<HHBBB", 65500, 65500, 0, 0, 0) + encoded(RGB, "GIF")[13:],
}


def orientation(value: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = value
    return exif.tobytes()


def rgb(gray: np.ndarray) -> np.ndarray:
    return np.stack([gray] * 3, -1)


FRAMES = [Image.fromarray(RGB), Image.fromarray(255 - RGB)]
BITS = Image.fromarray(GRAY).convert("1")
PALETTE = Image.fromarray(RGB).convert("P", palette=Image.Palette.ADAPTIVE)
BROKEN_EXIF = b"Exif\0\0MM\0*\xff\xff\xff\xf0"

# What looks odd and is read correctly: (file, its pixels, greatest mean difference).
ODD = {
    "gray PNG: repeated over the channels": (encoded(GRAY), rgb(GRAY), 0),
    "gray JPEG": (encoded(GRAY, "JPEG", quality=100), rgb(GRAY), 2),
    "16-bit gray PNG: the upper eight bits": (encoded(GRAY.astype(np.uint16) * 256 + 77), rgb(GRAY), 0),
    "16-bit gray PGM": (encoded(GRAY.astype(np.uint16) * 256 + 77, "PPM"), rgb(GRAY), 0),
    "16-bit gray TIFF": (encoded(GRAY.astype(np.uint16) * 256 + 77, "TIFF"), rgb(GRAY), 0),
    "16-bit gray TIFF whose 0 is white": (
        tiff(20, 10, 16, ((255 - GRAY).astype("<u2") * 256 + 77).tobytes(), photometric=0),
        rgb(GRAY),
        0,
    ),
    "12-bit gray TIFF: the upper eight of twelve": (
        tiff(20, 10, 12, twelve_bits(GRAY.astype(int) * 16 + 7)),
        rgb(GRAY),
        0,
    ),
    "12-bit PGM": (b"P5 20 10 4095\n" + (GRAY.astype(int) * 16 + 7).astype(">u2").tobytes(), rgb(GRAY), 0),
    "16-bit RGB PNG": (png(20, 10, sixteen_bits(RGB), bits=16), RGB, 0),
    "a TIFF, also compressed": (encoded(RGB, "TIFF", compression="tiff_lzw"), RGB, 0),
    "an EXIF-rotated TIFF: turned": (encoded(np.ascontiguousarray(np.rot90(RGB)), "TIFF", exif=orientation(6)), RGB, 0),
    "several pages: the first": (saved(FRAMES[0], "TIFF", save_all=True, append_images=FRAMES[1:]), RGB, 0),
    "animated GIF: the first frame": (
        saved(PALETTE, "GIF", save_all=True, append_images=[BITS]),
        np.asarray(PALETTE.convert("RGB")),
        0,
    ),
    "AVIF": (encoded(RGB, "AVIF", quality=100, subsampling="4:4:4"), RGB, 3),
    "an EXIF-rotated AVIF: turned": (
        encoded(np.ascontiguousarray(np.rot90(RGB)), "AVIF", quality=100, subsampling="4:4:4", exif=orientation(6)),
        RGB,
        6,
    ),
    "one bit": (saved(BITS), np.asarray(BITS.convert("RGB")), 0),
    "CMYK JPEG": (saved(Image.fromarray(RGB).convert("CMYK"), "JPEG", quality=100), RGB, 3),
    "palette": (saved(PALETTE), np.asarray(PALETTE.convert("RGB")), 0),
    "palette with transparent colors": (saved(PALETTE, transparency=b"\0\x10"), np.asarray(PALETTE.convert("RGB")), 0),
    "alpha: dropped": (saved(Image.fromarray(np.dstack([RGB, GRAY]))), RGB, 0),
    "gray with alpha": (saved(Image.fromarray(np.dstack([GRAY, GRAY]), "LA")), rgb(GRAY), 0),
    "EXIF-rotated PNG: turned": (encoded(np.ascontiguousarray(np.rot90(RGB)), exif=orientation(6)), RGB, 0),
    "EXIF-mirrored PNG": (encoded(np.ascontiguousarray(RGB[:, ::-1]), exif=orientation(2)), RGB, 0),
    "an orientation that does not exist: as stored": (encoded(RGB, exif=orientation(99)), RGB, 0),
    "broken EXIF, valid pixels: as stored": (encoded(RGB, exif=BROKEN_EXIF), RGB, 0),
    "EXIF of garbage": (encoded(RGB, exif=b"Exif\0\0garbage"), RGB, 0),
    "broken EXIF in a JPEG": (encoded(RGB, "JPEG", quality=100, subsampling=0, exif=BROKEN_EXIF), RGB, 2),
    "animated PNG: the first frame": (saved(FRAMES[0], save_all=True, append_images=FRAMES[1:]), RGB, 0),
    "animated WEBP": (saved(FRAMES[0], "WEBP", save_all=True, append_images=FRAMES[1:], lossless=True), RGB, 0),
    "progressive JPEG": (encoded(RGB, "JPEG", progressive=True, quality=100, subsampling=0), RGB, 2),
    "one pixel": (encoded(RGB[:1, :1]), RGB[:1, :1], 0),
}


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")  # Pillow looks there for the resolution of a JPEG
@pytest.mark.parametrize("name", ODD)
def test_odd_images_are_read_right(name):
    content, expected, difference = ODD[name]
    found = decode(content, "x")
    assert found.dtype == np.uint8 and found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).mean() <= difference


@pytest.mark.parametrize("name", IMAGES)
def test_no_bad_image_is_decoded(name):
    with pytest.raises(InputError, match=r"^set: a\.png: ") as caught:
        decode(IMAGES[name], "set: a.png")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


# --- records: the set opens, one of its records is bad --------------------------------------------------------------


def folders(place: Path, people: int = 3, images: int = 4) -> Path:
    """Identity folders p0, p1 ... of images 0.png, 1.png ..."""
    for person, number in itertools.product(range(people), range(images)):
        file = place / f"p{person}" / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(encoded(picture(images * person + number, 8, 8)))
    return place


def vanished(place: Path) -> str:
    (place / "p1" / "2.png").unlink()
    return "p1/2.png: cannot be read"


def huge(place: Path) -> str:
    with (place / "p1" / "2.png").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    return "p1/2.png: .* are read"


def pipe(place: Path) -> str:
    (place / "p1" / "2.png").unlink()
    os.mkfifo(place / "p1" / "2.png")
    return "p1/2.png: is not a regular file"


def dangling(place: Path) -> str:
    (place / "p1" / "2.png").unlink()
    (place / "p1" / "2.png").symlink_to(place / "nowhere")
    return "p1/2.png: cannot be read"


def own_link(place: Path) -> str:
    (place / "p1" / "2.png").unlink()
    (place / "p1" / "2.png").symlink_to("2.png")
    return "p1/2.png: cannot be read"


def became_folder(place: Path) -> str:
    (place / "p1" / "2.png").unlink()
    (place / "p1" / "2.png").mkdir()
    return "p1/2.png: "


def unreadable(place: Path) -> str:
    if os.geteuid() == 0:
        pytest.skip("root reads everything")
    (place / "p1" / "2.png").chmod(0)
    return "p1/2.png: cannot be read"


def line_break(place: Path) -> str:
    (place / "p1" / "2.png").unlink()
    (place / "p1" / "2\n.png").write_bytes(b"")
    return r"p1/2\\n\.png: cannot decode"


def not_utf8(place: Path) -> str:
    (place / "p1" / "2.png").unlink()
    (place / "p1" / os.fsdecode(b"2\xff.png")).write_bytes(b"")
    return r"p1/2\\udcff\.png: cannot decode"


def of_image(content: bytes) -> Callable[[Path], str]:
    def damage(place: Path) -> str:
        (place / "p1" / "2.png").write_bytes(content)
        return r"p1/2\.png: "

    return damage


FILES = {
    "a file that vanished": vanished,
    "a file of hundreds of megabytes": huge,
    "a named pipe": pipe,
    "a link to nothing": dangling,
    "a link to itself": own_link,
    "a folder named as an image": became_folder,
    "a file without permission": unreadable,
    "a bad image whose name holds a line break": line_break,
    "a bad image whose name is no UTF-8": not_utf8,
    **{f"a file that is {name}": of_image(content) for name, content in IMAGES.items()},
}

# These change what is listed: the damage exists when the set is opened. The others happen while it is open.
LISTED = {"a bad image whose name holds a line break", "a bad image whose name is no UTF-8"}


def record_file(change: Callable[[bytes, list[list[int]]], tuple[bytes, list[list[int]]]]) -> Callable:
    """A flat set of 12 records, then a change of its file and of its index of [key, offset]."""

    def damage(place: Path) -> str:
        rec, idx = (place / "train.rec").read_bytes(), (place / "train.idx").read_text()
        table = [[int(word) for word in line.split()] for line in idx.splitlines()]
        rec, table = change(rec, table)
        (place / "train.rec").write_bytes(rec)
        (place / "train.idx").write_text("".join(f"{key}\t{offset}\n" for key, offset in table))
        return r"record [67]\b"

    return damage


def moved(table: list[list[int]], offset: Callable[[int], int]) -> list[list[int]]:
    return [[key, offset(at) if key == 6 else at] for key, at in table]


def at_record(rec: bytes, table: list[list[int]], place: int, new: bytes) -> bytes:
    start = table[6][1] + place
    return rec[:start] + new + rec[start + len(new) :]


RECORDS = {
    "an offset past the end": record_file(lambda rec, t: (rec, moved(t, lambda at: len(rec) + 4))),
    "an offset into the middle of a record": record_file(lambda rec, t: (rec, moved(t, lambda at: at + 8))),
    "an offset just before the end": record_file(lambda rec, t: (rec, moved(t, lambda at: len(rec) - 4))),
    "a frame without its magic": record_file(lambda rec, t: (at_record(rec, t, 0, b"XXXX"), t)),
    "a frame longer than the file": record_file(lambda r, t: (at_record(r, t, 4, b"\xff\xff\xff\x1f"), t)),
    "a first part without a second": record_file(
        lambda r, t: (at_record(r, t, 4, struct.pack("<I", 1 << 29 | t[7][1] - t[6][1] - 8)), t)
    ),
    "a middle part without a first": record_file(lambda r, t: (at_record(r, t, 4, struct.pack("<I", 2 << 29 | 30)), t)),
    "a part of an unknown kind": record_file(lambda r, t: (at_record(r, t, 4, struct.pack("<I", 5 << 29 | 30)), t)),
    "a record too short for its header": record_file(lambda r, t: (at_record(r, t, 4, struct.pack("<I", 8)), t)),
    "a record that claims a thousand million labels": record_file(
        lambda r, t: (at_record(r, t, 8, struct.pack("<I", 1_000_000_000)), t)
    ),
    "a label that is not its identity's": record_file(lambda r, t: (at_record(r, t, 12, struct.pack("<f", 2.0)), t)),
    "a label that became NaN": record_file(lambda r, t: (at_record(r, t, 12, struct.pack("<f", np.nan)), t)),
    "a damaged image": record_file(lambda r, t: (at_record(r, t, 40, b"\0" * 20), t)),
}


def check_policies(source, damaged: str, folder: Path, size: int = 8) -> None:
    """The record that the pattern `damaged` matches ends the run, or is skipped: its row stays, with zero weight."""
    options = {"seed": 0, "threads": 0}
    count = len(source)
    with pytest.raises(InputError, match=damaged) as caught:
        list(itertools.islice(batches(source, 4, size, **options), count // 4))
    assert "\n" not in str(caught.value)
    folder.mkdir()
    taken = list(
        itertools.islice(batches(source, 4, size, bad_records=BadRecords(folder, 1), **options), 2 * count // 4)
    )
    for step, batch in enumerate(taken, 1):
        keys = record_keys(source, 4, 0, step)
        assert batch["image"].shape == (4, size, size, 3) and len(keys) == 4
        assert set(np.unique(batch["weight"])) <= {0.0, 1.0}
    lines = [json.loads(line) for line in (folder / FILE).read_text().splitlines()]
    (bad,) = lines  # met in both epochs, counted once
    assert set(bad) == {"key", "reason"} and "\n" not in bad["reason"]
    rows = [
        (step, row) for step, batch in enumerate(taken, 1) for row, weight in enumerate(batch["weight"]) if weight == 0
    ]
    assert len(rows) == 2
    for step, row in rows:
        batch = taken[step - 1]
        assert record_keys(source, 4, 0, step)[row] == bad["key"]
        assert any((batch["image"][row] == batch["image"][other]).all() for other in range(4) if other != row)
    with pytest.raises(InputError, match=r"^data\.max_bad_records: 1 bad record; at most 0 may be skipped; the last "):
        list(itertools.islice(batches(source, 4, size, bad_records=BadRecords(None, 0), **options), count // 4))


@pytest.mark.parametrize("name", FILES)
def test_bad_files(tmp_path, name):
    place = folders(tmp_path / "faces")
    source = None if name in LISTED else open_source(str(place))
    damaged = FILES[name](place)
    check_policies(source or open_source(str(place)), damaged, tmp_path / "log")


@pytest.mark.parametrize("name", RECORDS)
def test_bad_records(tmp_path, name):
    people = {float(label): [encoded(picture(10 * label + i, 8, 8)) for i in range(4)] for label in range(3)}
    payloads = [(0, header((13.0, 16.0)))] + [
        (key, header((key - 1) // 4 * 1.0, key) + image)
        for key, image in enumerate(itertools.chain(*people.values()), 1)
    ] + [(13 + i, header((1.0 + 4 * i, 5.0 + 4 * i))) for i in range(3)]  # fmt: skip
    place = write_records(tmp_path / "faces", payloads, classes=3)
    damaged = RECORDS[name](place)
    check_policies(open_source(str(place)), damaged, tmp_path / "log")


def shards(place: Path, count: int = 3) -> Path:
    pack(open_source(str(folders(place / "faces"))), place / "shards", Limit(shards=count))
    return place / "shards"


def test_a_changed_byte_in_a_shard(tmp_path):
    place = shards(tmp_path)
    shard = place / "shard-00001.array_record"
    content = shard.read_bytes()
    shard.write_bytes(flipped(content, content.index(b"p1/2.png") + 60))
    check_policies(open_source(str(place)), r"shard-00001\.array_record: record 2: ", tmp_path / "log")


def test_a_shard_that_vanishes_while_it_is_open(tmp_path):
    place = shards(tmp_path, 12)
    source = open_source(str(place))
    (place / "shard-00005.array_record").unlink()
    check_policies(source, r"shard-00005\.array_record: record 0: ", tmp_path / "log")


# --- sets: they do not open -----------------------------------------------------------------------------------------


def changed(name: str, change: Callable[[bytes], bytes | None], make: Callable[[Path], Path]) -> Callable[[Path], Path]:
    """A good set with one file changed, or removed where the change gives None."""

    def build(place: Path) -> Path:
        folder = make(place)
        content = change((folder / name).read_bytes())
        (folder / name).unlink() if content is None else (folder / name).write_bytes(content)
        return folder

    return build


def records(place: Path) -> Path:
    return write_records(place / "faces", identity_payloads({0.0: [PNG] * 2, 1.0: [JPEG] * 2}))


def flat(*labels: float) -> Callable[[Path], Path]:
    def build(place: Path) -> Path:
        return write_records(place / "faces", [(i, header(label) + PNG) for i, label in enumerate(labels)])

    return build


def layout(*ranges: tuple[float, float], first: float = 5.0, end: float = 7.0) -> Callable[[Path], Path]:
    """Four images of two identities, and their identity records."""

    def build(place: Path) -> Path:
        images = [(key, header((key - 1) // 2 * 1.0) + PNG) for key in range(1, 5)]
        identities = [(5 + i, header(span)) for i, span in enumerate(ranges)]
        return write_records(place / "faces", [(0, header((first, end))), *images, *identities])

    return build


def described(**changes) -> Callable[[Path], Path]:
    def change(content: bytes) -> bytes:
        return json.dumps(json.loads(content) | changes).encode()

    return changed("dataset.json", change, shards)


def shard_described(**changes) -> Callable[[Path], Path]:
    def change(content: bytes) -> bytes:
        found = json.loads(content)
        found["shards"][1] |= changes
        return json.dumps(found).encode()

    return changed("dataset.json", change, shards)


def made(*steps: Callable[[Path], object]) -> Callable[[Path], Path]:
    """Good identity folders, with a change."""

    def build(place: Path) -> Path:
        folder = folders(place / "faces")
        for step in steps:
            step(folder)
        return folder

    return build


def empty(place: Path) -> Path:
    (place / "faces").mkdir()
    return place / "faces"


def no_images(place: Path) -> Path:
    for name in ("a", "b"):
        (place / "faces" / name).mkdir(parents=True)
        (place / "faces" / name / "notes.txt").write_text("no image")
    return place / "faces"


def twins(one: str, other: str) -> Callable[[Path], Path]:
    def build(place: Path) -> Path:
        for name in (one, other):
            (place / "faces" / name).mkdir(parents=True)
            (place / "faces" / name / "0.png").write_bytes(PNG)
        if len(os.listdir(place / "faces")) < 2:
            pytest.skip("a file system that does not distinguish them")
        return place / "faces"

    return build


def images_alone(place: Path) -> Path:
    (place / "faces").mkdir()
    (place / "faces" / "0.png").write_bytes(PNG)
    return place / "faces"


def one_more(place: Path) -> Path:
    folder = shards(place)
    shutil.copy(folder / SHARD, folder / "shard-00009.array_record")
    return folder


def swapped(place: Path) -> Path:
    folder = shards(place)
    (folder / "shard-00000.array_record").rename(folder / "x")
    (folder / "shard-00001.array_record").rename(folder / "shard-00000.array_record")
    (folder / "x").rename(folder / "shard-00001.array_record")
    return folder


def half(content: bytes) -> bytes:
    return content[: len(content) // 2]


SHARD = "shard-00001.array_record"
SETS = {
    # folders
    "no folder": (lambda place: place / "nowhere", "is neither a folder nor a list"),
    "an empty folder": (empty, "no identities found"),
    "folders without an image": (no_images, "no identities found"),
    "images without identity folders": (images_alone, "no identities found"),
    "one identity": (lambda place: folders(place / "faces", people=1), "1 identity; training needs at least 2"),
    "identities that differ in case only": (twins("Anna", "anna"), "'Anna' and 'anna' differ only in case"),
    "identities that differ in Unicode form only": (
        twins("Zo\u00eb", "Zoe\u0308"),
        "differ only in case or Unicode form",
    ),
    "an identity that is a link to another": (
        made(lambda f: (f / "p9").symlink_to(f / "p0")),
        "'p9' is a link to 'p0'",
    ),
    "a set that is a file of words": (lambda place: place / "file.txt", "is not a line of a training list"),
    # InsightFace records
    "no .rec": (changed("train.rec", lambda c: None, records), "train.rec: cannot be read"),
    "an empty .rec": (changed("train.rec", lambda c: b"", records), "needs bytes"),
    "an empty .idx": (changed("train.idx", lambda c: b"", records), "is empty"),
    "half a .rec": (changed("train.rec", half, records), "needs bytes|no frame"),
    "words for an .idx": (changed("train.idx", lambda c: b"some words", records), "expected lines of"),
    "a binary .idx": (changed("train.idx", lambda c: b"\0\xff" * 50, records), "expected lines of"),
    "an .idx of one column": (changed("train.idx", lambda c: b"1\n2\n", records), "two non-negative integers"),
    "an .idx with a negative offset": (
        changed("train.idx", lambda c: c.replace(b"\t0\n", b"\t-4\n"), records),
        "two non-negative integers",
    ),
    "an .idx with a key twice": (changed("train.idx", lambda c: c + c[:4], records), "a key appears twice"),
    "an .idx with two keys for one record": (
        changed("train.idx", lambda c: c + b"99\t0\n", records),
        "two keys have the same offset",
    ),
    "a property of words": (changed("property", lambda c: b"faces", records), "expected a first line"),
    "a property with a negative count": (
        changed("property", lambda c: b"-3,112,112", records),
        "expected a first line",
    ),
    "a negative label": (flat(0.0, -1.0, 2.0), "record 1: the label -1 is not a non-negative integer"),
    "a label that is not whole": (flat(0.0, 0.5), r"record 1: the label 0\.5 is not a non-negative integer"),
    "a label that is no number": (flat(0.0, np.nan), "record 1: the label nan is not a non-negative integer"),
    "an infinite label": (flat(0.0, np.inf), "record 1: the label inf is not a non-negative integer"),
    "one label": (flat(3.0, 3.0, 3.0), "1 identity"),
    "identities that overlap": (layout((1.0, 4.0), (3.0, 5.0)), "two identities claim images"),
    "an identity beyond the images": (layout((1.0, 3.0), (3.0, 9.0)), "an identity with images 3 to 9"),
    "an identity that ends before it starts": (layout((3.0, 1.0), (3.0, 5.0)), "an identity with images 3 to 1"),
    "an identity record that is an image": (layout((1.0, 3.0), end=6.0, first=4.0), "expected two keys"),
    "identities at keys that are not there": (layout((1.0, 3.0), (3.0, 5.0), end=99.0), "the key is not in the index"),
    "identities at keys that are no counts": (layout((1.0, 3.0), (3.0, 5.0), end=7.5), "expected two keys"),
    # shards
    "shards without a description": (changed("dataset.json", lambda c: None, shards), "expected a complete pack"),
    "a description that is no JSON": (changed("dataset.json", half, shards), "dataset.json: cannot be read"),
    "a description that is nested without end": (
        changed("dataset.json", lambda c: b"[" * 99_999, shards),
        "dataset.json: cannot be read",
    ),
    "a description of another version": (described(version=2), "version 1"),
    "a description of something else": (changed("dataset.json", lambda c: b"[]", shards), "expected format"),
    "a description without shards": (described(shards=[]), "12 records, 0 in its shards"),
    "a description that lies of the records": (described(records=11), "11 records, 12 in its shards"),
    "a description that lies of the classes": (described(classes=2), "says 12 records of 2 classes"),
    "a description that names a file elsewhere": (
        shard_described(file="../faces"),
        "shards is missing or of the wrong type",
    ),
    "a description that lies of a shard's records": (shard_described(records=5), "12 records, 13 in its shards"),
    "a description that lies of a shard's size": (shard_described(bytes=5), "has .* bytes, dataset.json says 5"),
    "no index": (changed("index.npz", lambda c: None, shards), "index.npz: cannot be read"),
    "a changed index": (changed("index.npz", lambda c: flipped(c, 200), shards), "its sha256 is not the one"),
    "a missing shard": (changed(SHARD, lambda c: None, shards), f"{SHARD}: is missing"),
    "half a shard": (changed(SHARD, half, shards), f"{SHARD}: has .* bytes"),
    "a shard of zeros": (changed(SHARD, lambda c: bytes(len(c)), shards), "pack is corrupted"),
    "a shard too many": (one_more, "shard-00009.array_record is not in dataset.json"),
}


@pytest.mark.parametrize("name", SETS)
def test_sets_that_do_not_open(tmp_path, name):
    build, reason = SETS[name]
    (tmp_path / "file.txt").write_text("x")
    with pytest.raises(InputError, match=reason) as caught:
        open_source(str(build(tmp_path)))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 1000


def test_swapped_shards_are_noticed_at_the_first_record(tmp_path):
    source = open_source(str(swapped(tmp_path)))
    with pytest.raises(InputError, match=r"record 0: is 'p1/0\.png' of class 1, the index says 'p0/0\.png' of class 0"):
        source[0]


def read_all(place: Path) -> None:
    source = InsightFaceSource(place)
    for index in range(len(source)):
        decode(source[index].image, "x")


@pytest.mark.parametrize("at", range(0, 640, 37))
def test_a_rec_truncated_anywhere_gives_one_line(tmp_path, at):
    place = records(tmp_path)
    content = (place / "train.rec").read_bytes()
    (place / "train.rec").write_bytes(content[: len(content) * at // 640])
    with pytest.raises(InputError) as caught:
        read_all(place)
    assert "\n" not in str(caught.value)


# --- sets that look odd and are read correctly
# --------------------------------------------------------------------------


def test_labels_with_gaps_are_compacted_and_reported(tmp_path):
    source = open_source(str(flat(7.0, 3.0, 7.0, 12.0)(tmp_path)))
    assert source.labels.tolist() == [1, 0, 1, 2]
    assert list(source.class_names) == ["3", "7", "12"]
    assert source.description.endswith("labels 3 to 12 with gaps mapped to 0 to 2, property claims 2 identities")


def test_a_wrong_property_is_reported(tmp_path):
    source = open_source(str(changed("property", lambda c: b"85742,112,112", records)(tmp_path)))
    assert source.num_classes == 2
    assert source.description.endswith("property claims 85742 identities")


def test_what_is_not_an_identity_or_image_is_skipped(tmp_path):
    place = folders(tmp_path / "faces")
    (place / "nobody").mkdir()
    (place / "loop").symlink_to(place)
    (place / "self").symlink_to(place / "self")
    (place / "dangling").symlink_to(place / "nowhere")
    (place / "p0" / "back").symlink_to(place / "p0")
    (place / "p0" / "folder.png").mkdir()
    (place / "p0" / "._0.png").write_bytes(b"a Mac's notes")
    (place / "p0" / "Thumbs.db").write_bytes(b"x")
    (place / "alone").mkdir()
    (place / "alone" / "0.png").write_bytes(PNG)  # one image is an identity too
    source = open_source(str(place))
    assert list(source.class_names) == ["alone", "p0", "p1", "p2"]
    assert np.bincount(source.labels).tolist() == [1, 4, 4, 4]


def test_a_link_elsewhere_is_an_identity(tmp_path):
    place, elsewhere = folders(tmp_path / "faces"), folders(tmp_path / "elsewhere", people=1)
    (place / "p9").symlink_to(elsewhere / "p0")
    assert open_source(str(place)).num_classes == 4


# --- benchmarks -----------------------------------------------------------------------------------------------------

BINS = {
    "an empty pack": (b"", "refused"),
    "words": (b"these are words", "refused"),
    "half a pack": (half(pickle.dumps(([PNG] * 4, [True, False]))), "refused"),
    "an odd count": (pickle.dumps(([PNG] * 3, [True, False])), "3 images for 2 pairs"),
    "more truth than pairs": (pickle.dumps(([PNG] * 4, [True] * 3)), "4 images for 3 pairs"),
    "no pairs": (pickle.dumps(([], [])), "0 images for 0 pairs"),
    "truth that is no truth": (pickle.dumps(([PNG] * 4, [True, 2])), "not all true or false"),
    "images that are words": (pickle.dumps((["a"] * 4, [True, False])), "neither bytes nor a uint8 array"),
    "a pack of one list": (pickle.dumps([PNG]), "not a pair of lists"),
    "a call": (b"cos\nsystem\n(S'true'\ntR.", "refused"),
}


@pytest.mark.parametrize("name", BINS)
def test_benchmarks_that_do_not_open(tmp_path, name):
    content, reason = BINS[name]
    (tmp_path / "x.bin").write_bytes(content)
    with pytest.raises(InputError, match=reason) as caught:
        open_benchmark(str(tmp_path / "x.bin"))
    assert "\n" not in str(caught.value)


def test_the_tables_hold_at_least_forty_kinds():
    assert len(FILES) + len(RECORDS) + len(SETS) + len(BINS) >= 40
    assert MAGIC in frame(b"")


# --- the count ------------------------------------------------------------------------------------------------------


def test_a_record_counts_once_however_often_and_in_however_many_sessions_it_is_met(tmp_path):
    log = BadRecords(tmp_path, 2)
    log.add(BadRecord("a", "reason a"))
    log.add(BadRecord("a", "reason a"))
    again = BadRecords(tmp_path, 2)
    assert len(again) == 1
    again.add(BadRecord("b\n\udcff", "reason b"))
    again.add(BadRecord("a", "reason a"))
    with pytest.raises(InputError, match=rf"3 bad records; at most 2 may be skipped; the last one: reason c; .*{FILE}"):
        again.add(BadRecord("c", "reason c"))
    keys = [json.loads(line)["key"] for line in (tmp_path / FILE).read_text().splitlines()]
    assert keys == ["a", "b\n\udcff", "c"]


def test_a_line_truncated_by_a_kill_is_met_again(tmp_path):
    BadRecords(tmp_path, 9).add(BadRecord("a", "x"))
    whole = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(whole + b'{"key": "b", "rea')
    log = BadRecords(tmp_path, 9)
    assert len(log) == 1 and (tmp_path / FILE).read_bytes() == whole
    (tmp_path / FILE).write_bytes(b"something else\n")
    with pytest.raises(InputError, match="a line is not a bad record"):
        BadRecords(tmp_path, 9)


@pytest.mark.parametrize("threads", [0, 3])
def test_skipping_changes_no_other_row_and_does_not_depend_on_threads(tmp_path, threads):
    place = folders(tmp_path / "faces")
    whole = list(itertools.islice(batches(open_source(str(place)), 4, 8, seed=1, threads=0), 9))
    (place / "p2" / "1.png").write_bytes(b"")
    source = open_source(str(place))
    skipped = itertools.islice(batches(source, 4, 8, seed=1, threads=threads, bad_records=BadRecords(None, 1)), 9)
    for batch, other in zip(whole, skipped, strict=True):
        good = other["weight"] == 1
        for name in ("image", "label"):
            np.testing.assert_array_equal(batch[name][good], other[name][good])
        np.testing.assert_array_equal(batch["label"], other["label"])


def test_a_batch_without_a_readable_record_has_zero_weight(tmp_path):
    place = folders(tmp_path / "faces", 2, 2)
    for file in place.rglob("*.png"):
        file.write_bytes(b"")
    (batch,) = itertools.islice(
        batches(open_source(str(place)), 4, 8, seed=0, threads=0, bad_records=BadRecords(None, 4)), 1
    )
    assert not batch["weight"].any() and not batch["image"].any()
