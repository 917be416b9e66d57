"""All findings in one line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from adaptface_jax.checks.finding import Finding, Section, Severity
from adaptface_jax.core.text import plural


def verdict(sections: Iterable[Section]) -> tuple[Severity, str]:
    """The worst severity, and the sum of it all in one line."""
    findings = [finding for section in sections for finding in section.findings]
    count = Counter(finding.severity for finding in findings)
    faults, warnings = count[Severity.FAULT], count[Severity.WARNING]
    if faults:
        also = f", {plural(warnings, 'warning')}" if warnings else ""
        return Severity.FAULT, f"{plural(faults, 'fault')}{also}: {_names(findings, Severity.FAULT)}"
    if warnings:
        return Severity.WARNING, f"no fault, {plural(warnings, 'warning')}: {_names(findings, Severity.WARNING)}"
    return Severity.OK, f"sound: {plural(len(findings), 'check')}, no fault, no warning"


def _names(findings: Iterable[Finding], severity: Severity) -> str:
    return ", ".join(dict.fromkeys(finding.check for finding in findings if finding.severity is severity))
