"""The findings of the checks, as a section of a page."""

from __future__ import annotations

from html import escape
from typing import Any

from adaptface_jax.checks.finding import MARKS, Section, Severity, verdict


def findings_section(found: list[Section]) -> str:
    """Findings that need attention first, open; all checks, collapsed."""
    odd = [(s, f) for s in found for f in s.findings if f.severity in (Severity.WARNING, Severity.FAULT)]
    everything = [(s, f) for s in found for f in s.findings]
    lead = verdict(found)[1]
    parts = [f'<p class="lead">{escape(lead[:1].upper() + lead[1:])}.</p>']
    if odd:
        parts.append(_listed(odd))
    parts.append(f"<details><summary>All {len(everything)} checks</summary>{_listed(everything)}</details>")
    return "".join(parts)


def _listed(rows: list[tuple[Section, Any]]) -> str:
    items = []
    for section, finding in rows:
        advice = f"<span>→ {escape(finding.advice)}</span>" if finding.advice else ""
        where = f" <small>({escape(section.title)})</small>" if section.title != "training" else ""
        items.append(
            f'<li class="{finding.severity}"><i aria-label="{finding.severity}">{MARKS[finding.severity]}</i>'
            f"<b>{escape(finding.check)}</b><div>{escape(finding.what)}{where}</div>{advice}</li>"
        )
    return f'<ul class="findings">{"".join(items)}</ul>'
