"""The locations of the members of an uncompressed zip file. Nothing is unpacked: like torch, we read archives in place.

Format: PKWARE APPNOTE 6.3. Python's zipfile trusts the central directory; this reader checks it against the local
headers, the other members and the size of the file, and reads only headers.
"""

from __future__ import annotations

import dataclasses
import io
import struct
from pathlib import Path
from typing import BinaryIO

from adaptface_jax.core.text import quoted
from adaptface_jax.weights.formats.tensors import MAX_TENSORS

MAX_MEMBERS = 2 * MAX_TENSORS
MAX_DIRECTORY = 64 << 20

_END = struct.Struct("<4s4H2LH")
_LOCATOR64 = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
# Versions, times, checksums and attributes are skipped ("x"): torch can be told not to compute the checksums.
_CENTRAL = struct.Struct("<4s4x2H8x2L4H6xL")
_LOCAL = struct.Struct("<4s2x2H8x2L2H")

ENCRYPTED = 0x2041  # bits 0, 6 and 13: data encrypted, strongly, or the directory itself
_FULL16, _FULL32 = 0xFFFF, 0xFFFFFFFF


class BrokenZip(Exception):
    """The file is inconsistent, or not a zip; the message is one short line."""


@dataclasses.dataclass(frozen=True, slots=True)
class Member:
    """start: first byte of the member's data in the file. size: in bytes. stored: neither compressed nor encrypted."""

    start: int
    size: int
    stored: bool


@dataclasses.dataclass(frozen=True, slots=True)
class _Record:
    name: bytes
    flags: int
    method: int
    packed: int
    size: int
    header: int


def members(path: Path) -> dict[str, Member]:
    """Every member by its name. Raises BrokenZip, and OSError if the file cannot be read.

    Refused: names that occur twice or lead out of the archive, members that overlap or extend past the directory, local
    headers that contradict the directory, multi-disk archives, bytes after the end.
    """
    with open(path, "rb") as stream:
        count, start, size = _find_directory(stream)
        records = _records(_read(stream, start, size), count)
        found: dict[str, Member] = {}
        end = start
        for record in sorted(records, key=lambda record: record.header, reverse=True):
            name = _checked_name(record.name)
            if name in found:
                raise BrokenZip(f"the member {quoted(name)} occurs twice")
            data = _data_start(stream, record, name)
            if data + record.packed > end:
                raise BrokenZip(f"the member {quoted(name)} overlaps what follows it")
            end = record.header
            stored = record.method == 0 and not record.flags & ENCRYPTED
            if stored and record.packed != record.size:
                raise BrokenZip(f"the member {quoted(name)} has two sizes")
            found[name] = Member(data, record.size, stored)
    return found


def _find_directory(stream: BinaryIO) -> tuple[int, int, int]:
    """Number of members, first byte and size of the central directory."""
    total = stream.seek(0, io.SEEK_END)
    place = total - _END.size
    if place < 0:
        raise BrokenZip("it is truncated")
    magic, disk, first_disk, here, count, size, start, comment = _END.unpack(_read(stream, place, _END.size))
    if magic != b"PK\5\6" or comment:
        raise BrokenZip("its end record is missing")
    if disk or first_disk or here != count:
        raise BrokenZip("it is one part of a multi-part archive")
    locator = place - _LOCATOR64.size
    if locator >= 0:
        magic, disk, place64, disks = _LOCATOR64.unpack(_read(stream, locator, _LOCATOR64.size))
        if magic == b"PK\6\7":
            if disk or disks != 1 or place64 != locator - _END64.size:
                raise BrokenZip("its zip64 locator is invalid")
            count, size, start = _merge64(stream, place64, (count, size, start))
            place = place64
    if start + size != place:
        raise BrokenZip("its directory is not where its end record says")
    if size > MAX_DIRECTORY or count > MAX_MEMBERS:
        raise BrokenZip(f"it claims {count:,} members; at most {MAX_MEMBERS:,} are read")
    return count, start, size


def _merge64(stream: BinaryIO, place: int, short: tuple[int, int, int]) -> tuple[int, int, int]:
    magic, size, _, _, disk, first_disk, here, count, length, start = _END64.unpack(_read(stream, place, _END64.size))
    if magic != b"PK\6\6" or size != _END64.size - 12 or disk or first_disk or here != count:
        raise BrokenZip("its zip64 end record is invalid")
    long = (count, length, start)
    if any(a not in (b, full) for a, b, full in zip(short, long, (_FULL16, _FULL32, _FULL32), strict=True)):
        raise BrokenZip("its two end records contradict each other")
    return long


def _records(directory: bytes, count: int) -> list[_Record]:
    found: list[_Record] = []
    place = 0
    while place < len(directory):
        if len(directory) - place < _CENTRAL.size or len(found) == count:
            raise BrokenZip("its directory is corrupted")
        fields = _CENTRAL.unpack_from(directory, place)
        magic, flags, method, packed, size, name_length, extra_length, comment, disk, header = fields
        name_end = place + _CENTRAL.size + name_length
        extra_end = name_end + extra_length
        if magic != b"PK\1\2" or disk or extra_end + comment > len(directory):
            raise BrokenZip("its directory is corrupted")
        size, packed, header = _widen(directory[name_end:extra_end], (size, packed, header))
        found.append(_Record(directory[name_end - name_length : name_end], flags, method, packed, size, header))
        place = extra_end + comment
    if len(found) != count:
        raise BrokenZip(f"its directory holds {len(found):,} members, not {count:,}")
    return found


def _widen(extra: bytes, values: tuple[int, int, int]) -> tuple[int, int, int]:
    """Sizes and offset of a member; those beyond 4 GiB are in the extra field 1, in this order."""
    if _FULL32 not in values:
        return values
    place = 0
    while place + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, place)
        place += 4
        if kind == 1:
            wide = [extra[at : at + 8] for at in range(place, min(place + length, len(extra)), 8)]
            numbers = iter([int.from_bytes(number, "little") for number in wide if len(number) == 8])
            try:
                size, packed, header = (next(numbers) if value == _FULL32 else value for value in values)
            except (RuntimeError, StopIteration):
                break
            return size, packed, header
        place += length
    raise BrokenZip("its directory lacks a 64-bit size")


def _data_start(stream: BinaryIO, record: _Record, name: str) -> int:
    header = _read(stream, record.header, _LOCAL.size)
    magic, flags, method, packed, size, name_length, extra_length = _LOCAL.unpack(header)
    # If written as a stream, or in 64 bits, a local header leaves the sizes to the directory.
    deferred = (0, _FULL32) if flags & 8 else (_FULL32,)
    agrees = (
        magic == b"PK\3\4"
        and (flags, method) == (record.flags, record.method)
        and packed in (record.packed, *deferred)
        and size in (record.size, *deferred)
        and name_length == len(record.name)
        and _read(stream, record.header + _LOCAL.size, name_length) == record.name
    )
    if not agrees:
        raise BrokenZip(f"the member {quoted(name)} does not match the directory")
    return record.header + _LOCAL.size + name_length + extra_length


def _checked_name(raw: bytes) -> str:
    try:
        name = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise BrokenZip(f"the member name {quoted(raw)} is not UTF-8") from None
    if not name.isprintable() or "\\" in name or name.startswith("/") or ".." in name.split("/"):
        raise BrokenZip(f"the member name {quoted(name)} leads out of the archive or is not printable")
    return name


def _read(stream: BinaryIO, start: int, size: int) -> bytes:
    stream.seek(start)
    data = stream.read(size)
    if len(data) != size:
        raise BrokenZip("it is truncated")
    return data
