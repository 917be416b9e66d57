"""What a check says."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from typing import Any


class Severity(enum.StrEnum):
    """ok: as it should be. note: worth knowing. warning: probably not what was meant. fault: the run would be lost."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    FAULT = "fault"


@dataclasses.dataclass(frozen=True)
class Finding:
    """check: the name of what was looked at. what: one line. advice: the likely cause or what to do, one line.

    figures: the numbers behind it, for scripts.
    """

    check: str
    severity: Severity
    what: str
    advice: str = ""
    figures: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Section:
    """The findings about one thing; `subject` says which."""

    title: str
    subject: str
    findings: tuple[Finding, ...]


def ok(check: str, what: str, **figures: Any) -> Finding:
    """As it should be."""
    return Finding(check, Severity.OK, what, "", figures)


def note(check: str, what: str, advice: str = "", **figures: Any) -> Finding:
    """Worth knowing."""
    return Finding(check, Severity.NOTE, what, advice, figures)


def warning(check: str, what: str, advice: str, **figures: Any) -> Finding:
    """Probably not what was meant."""
    return Finding(check, Severity.WARNING, what, advice, figures)


def fault(check: str, what: str, advice: str, **figures: Any) -> Finding:
    """The run would be lost, or its figures would mean nothing."""
    return Finding(check, Severity.FAULT, what, advice, figures)


def share(part: int, whole: int) -> str:
    """ "12 of 400 (3%)"."""
    percent = 100 * part / max(whole, 1)
    shown = f"{percent:.0f}%" if percent >= 1 or not part else f"{percent:.2g}%"
    return f"{part:,} of {whole:,} ({shown})"
