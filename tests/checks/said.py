"""A finding's text, with its form checked."""

from __future__ import annotations

from adaptface_jax.checks.finding import Finding, Severity

FAULT, WARNING, NOTE, OK = Severity.FAULT, Severity.WARNING, Severity.NOTE, Severity.OK


def said(finding: Finding | None) -> tuple[str, Severity]:
    assert finding is not None
    assert "\n" not in finding.what and "\n" not in finding.advice
    assert finding.advice or finding.severity in (OK, NOTE)
    return finding.check, finding.severity
