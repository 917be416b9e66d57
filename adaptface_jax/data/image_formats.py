"""The image file formats that are read: their extensions, and the first bytes by which they are recognized."""

from __future__ import annotations

import functools

# Pillow's name of a format -> file extensions. Pillow's other formats are refused: less code parses outside files.
FORMATS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".jif"),
    "PNG": (".png",),
    "PPM": (".pgm", ".ppm", ".pnm", ".pbm"),
    "BMP": (".bmp", ".dib"),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "GIF": (".gif",),
    "AVIF": (".avif",),
    "HEIF": (".heic", ".heif", ".hif"),
}
SUFFIXES = tuple(suffix for suffixes in FORMATS.values() for suffix in suffixes)
HEIF = "HEIF"

# Extensions of images in formats that are not read, and of files that are not images: neither are opened to check.
UNREAD = (
    ".jp2", ".j2k", ".jpx", ".jxl", ".psd", ".svg", ".ico", ".tga", ".pcx", ".exr", ".hdr", ".dng", ".cr2", ".cr3",
    ".nef", ".arw", ".orf", ".raf", ".rw2", ".raw", ".heics", ".avifs", ".icns", ".xcf", ".eps",
)  # fmt: skip
NO_PICTURE = (
    ".txt", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".yaml", ".yml", ".md", ".html", ".log", ".lst", ".idx", ".rec",
    ".db", ".ini", ".py", ".m", ".mat", ".npy", ".npz", ".pkl", ".pts", ".zip", ".tar", ".gz", ".mp4", ".mov", ".avi",
    ".bak", ".tmp", ".part", ".partial", ".crdownload", ".pdf", ".lnk",
)  # fmt: skip

# The first bytes of the formats with unmistakable ones.
_BEGINNINGS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*")
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
_SHARED_BRANDS = {b"mif1", b"msf1"}  # of both AVIF and HEIC
HEAD = 64  # bytes that identify a format


def is_image(head: bytes) -> bool:
    """Whether a file with these first HEAD bytes is an image in a format that is read."""
    webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    return head.startswith(_BEGINNINGS) or webp or bool(_brands(head) & {b"avif", b"avis"}) or is_heif(head)


def is_heif(head: bytes) -> bool:
    """Whether a file with these first bytes is HEIC, as phones write it."""
    brands = _brands(head)
    return bool(brands & _HEIF_BRANDS) or bool(brands & _SHARED_BRANDS and not brands & {b"avif", b"avis"})


def _brands(head: bytes) -> set[bytes]:
    """The brands of a file in the ISO base media format: the major one, and those it is compatible with."""
    if head[4:8] != b"ftyp":
        return set()
    end = min(int.from_bytes(head[:4], "big"), len(head) // 4 * 4)
    return {head[8:12], *(head[place : place + 4] for place in range(16, end, 4))}


@functools.cache
def reads_heif() -> bool:
    """Whether the extra `heic` is installed; Pillow then reads HEIF too."""
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True
