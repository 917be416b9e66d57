"""The findings for the terminal: one section per subject, one mark per line, the verdict last."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

from adaptface_jax.checks.finding import MARKS, Finding, Section, Severity, verdict

LABEL = 18
PLAIN = {Severity.OK: "+", Severity.NOTE: ".", Severity.WARNING: "!", Severity.FAULT: "X"}
COLORS = {Severity.OK: "32", Severity.NOTE: "2", Severity.WARNING: "33", Severity.FAULT: "31;1"}


class Report:
    """Writes to `stream`: colors only on a terminal, marks that its encoding supports."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self._colored = self._stream.isatty()
        self._marks, self._arrow = MARKS, "→"
        try:
            "".join([*MARKS.values(), self._arrow]).encode(self._stream.encoding or "utf-8")
        except UnicodeEncodeError:
            self._marks, self._arrow = PLAIN, "->"

    def section(self, section: Section) -> None:
        """One section, flushed, since the next may take a while."""
        subject = f"  {section.subject}" if section.subject else ""
        lines = ["", self._paint("1", section.title) + subject]
        for finding in section.findings:
            lines += self._finding(finding)
        print("\n".join(lines), file=self._stream, flush=True)

    def verdict(self, sections: Iterable[Section]) -> None:
        """The last line."""
        worst, text = verdict(sections)
        print("\n" + self._paint(COLORS[worst], f"{self._marks[worst]} {text}"), file=self._stream, flush=True)

    def _finding(self, finding: Finding) -> list[str]:
        color = COLORS[finding.severity]
        mark = self._paint(color, self._marks[finding.severity])
        lines = [f"  {mark} {finding.check:{LABEL}} {finding.what}"]
        if finding.advice:
            lines.append(self._paint(color, f"    {'':{LABEL}} {self._arrow} {finding.advice}"))
        return lines

    def _paint(self, color: str, text: str) -> str:
        return f"\033[{color}m{text}\033[0m" if self._colored else text


def as_json(sections: Sequence[Section], subject: str) -> dict[str, Any]:
    """The content of `--output`: subject, verdict, the number of faults and warnings, and every finding."""
    worst, text = verdict(sections)
    findings = [
        {
            "section": section.title,
            "check": finding.check,
            "severity": str(finding.severity),
            "what": finding.what,
            "advice": finding.advice,
            "numbers": dict(finding.numbers),
        }
        for section in sections
        for finding in section.findings
    ]
    faults, warnings = (
        sum(entry["severity"] == severity for entry in findings) for severity in (Severity.FAULT, Severity.WARNING)
    )
    return {
        "subject": subject,
        "severity": str(worst),
        "verdict": text,
        "faults": faults,
        "warnings": warnings,
        "findings": findings,
    }
