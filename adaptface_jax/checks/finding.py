"""The finding of a check, and the summary of all findings in one line."""

from __future__ import annotations

import dataclasses
import enum
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from adaptface_jax.core.text import plural


class Severity(enum.StrEnum):
    """ok: as it should be. note: worth knowing. warning: probably not what was meant. fault: the run would be lost."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    FAULT = "fault"


MARKS = {Severity.OK: "✓", Severity.NOTE: "·", Severity.WARNING: "!", Severity.FAULT: "✗"}


@dataclasses.dataclass(frozen=True)
class Finding:
    """check: the name of what was checked. what: one line. advice: the likely cause or what to do, one line.

    numbers: the numbers behind it, for scripts.
    """

    check: str
    severity: Severity
    what: str
    advice: str = ""
    numbers: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Section:
    """The findings about one subject, which `subject` names."""

    title: str
    subject: str
    findings: tuple[Finding, ...]


def ok(check: str, what: str, **numbers: Any) -> Finding:
    """As it should be."""
    return Finding(check, Severity.OK, what, "", numbers)


def note(check: str, what: str, advice: str = "", **numbers: Any) -> Finding:
    """Worth knowing."""
    return Finding(check, Severity.NOTE, what, advice, numbers)


def warning(check: str, what: str, advice: str, **numbers: Any) -> Finding:
    """Probably not what was meant."""
    return Finding(check, Severity.WARNING, what, advice, numbers)


def fault(check: str, what: str, advice: str, **numbers: Any) -> Finding:
    """The run would be lost, or its numbers would mean nothing."""
    return Finding(check, Severity.FAULT, what, advice, numbers)


def share(part: int, whole: int) -> str:
    """ "12 of 400 (3%)"."""
    percent = 100 * part / max(whole, 1)
    shown = f"{percent:.0f}%" if percent >= 1 or not part else f"{percent:.2g}%"
    return f"{part:,} of {whole:,} ({shown})"


def verdict(sections: Iterable[Section]) -> tuple[Severity, str]:
    """The worst severity, and a summary in one line."""
    findings = [finding for section in sections for finding in section.findings]
    count = Counter(finding.severity for finding in findings)
    faults, warnings = count[Severity.FAULT], count[Severity.WARNING]
    if faults:
        also = f", {plural(warnings, 'warning')}" if warnings else ""
        return Severity.FAULT, f"{plural(faults, 'fault')}{also}: {_names(findings, Severity.FAULT)}"
    if warnings:
        return Severity.WARNING, f"no fault, {plural(warnings, 'warning')}: {_names(findings, Severity.WARNING)}"
    return Severity.OK, f"valid: {plural(len(findings), 'check')}, no fault, no warning"


def _names(findings: Iterable[Finding], severity: Severity) -> str:
    return ", ".join(dict.fromkeys(finding.check for finding in findings if finding.severity is severity))
