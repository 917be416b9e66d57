# SPDX-License-Identifier: Apache-2.0
"""Text from files, libraries and users as part of one line, safe for a terminal."""

from __future__ import annotations

import datetime
import os
from collections.abc import Mapping, Sequence


def one_line(error: BaseException, limit: int = 200) -> str:
    """The first line of an error's message, or its type if empty, without terminal control characters."""
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    text = (reason.strip().splitlines() or [type(error).__name__])[0][:limit]
    return "".join(character if character.isprintable() else "?" for character in text)


def shown(name: str) -> str:
    """A key or a path as it is; what cannot be printed (line breaks, bytes that are not UTF-8) is escaped."""
    if name.isprintable():  # as of millions of keys
        return name
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in name)


def quoted(text: object) -> str:
    """Text from a file: quoted, escaped and cut at 80 characters."""
    shown = ascii(text)
    return shown if len(shown) <= 80 else f"{shown[:76]}...{shown[0]}"


IRREGULAR = {"class": "classes", "identity": "identities", "person": "people"}


def plural(number: int, noun: str) -> str:
    """ "1 fault", "2,000 faults", "2 people"."""
    return f"{number:,} {noun if number == 1 else plural_of(noun)}"


def plural_of(noun: str) -> str:
    """ "faults", "people"."""
    return IRREGULAR.get(noun, f"{noun}s")


def shortened(text: str, length: int) -> str:
    """At most `length` characters, an ellipsis in place of the rest."""
    return text if len(text) <= length else text[: length - 1].rstrip() + "\N{HORIZONTAL ELLIPSIS}"


def short_names(paths: Sequence[str]) -> list[str]:
    """The last part of each path, and as many before it as distinguish the paths."""
    parts = [path.split(os.sep) for path in paths]
    for count in range(1, max(map(len, parts), default=1)):
        names = [os.sep.join(part[-count:]) for part in parts]
        if len(set(names)) == len(set(paths)):
            return names
    return list(paths)


def byte_size(count: int) -> str:
    """ "1.4 GB"."""
    for unit, width in (("GB", 1e9), ("MB", 1e6)):
        if count >= width:
            return f"{count / width:.3g} {unit}"
    return f"{count / 1e3:.3g} kB"


def duration(seconds: float) -> str:
    """ "3 min 52 s", "17 h 55 min", "1 d 13 h 12 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    days, hours = divmod(whole // 3600, 24)
    return f"{f'{days:,} d ' if days else ''}{hours} h {whole % 3600 // 60:02d} min"


def utc_minute(seconds: float) -> str:
    """ "2026-01-02 03:04 UTC": a time given in seconds since 1970."""
    return f"{datetime.datetime.fromtimestamp(seconds, datetime.UTC):%Y-%m-%d %H:%M} UTC"


def listed(names: Sequence[str], most: int = 8) -> str:
    """ "a, b and c"; if more than `most`, the first ones and how many are not named."""
    if len(names) > most:
        names = [*names[: most - 1], f"{len(names) - most + 1} more"]
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def signed(change: float) -> str:
    """ "+1.50": a change of a fraction in points, with a true minus sign."""
    return f"{100 * change:+z.2f}".replace("-", "\N{MINUS SIGN}")


def signed_area(change: float) -> str:
    """ "+0.0150": a change of an AUC, with a true minus sign."""
    return f"{change:+z.4f}".replace("-", "\N{MINUS SIGN}")


def pattern_text(pattern: Mapping[str, float]) -> str:
    """Names with numbers, `a=1,b=0.5`, as typed for a setting."""
    return ",".join(f"{key}={value:.12g}" for key, value in pattern.items())
