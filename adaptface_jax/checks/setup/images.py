"""The training images: readability, sizes, contents, colors, duplicates."""

from __future__ import annotations

from typing import Any

import numpy as np

from adaptface_jax.checks.finding import Finding, fault, note, ok, share, warning
from adaptface_jax.checks.setup.scan import Scan
from adaptface_jax.data.record import Source

# Skin is redder than blue in any ordinary light; gray images have no difference at all.
SWAPPED = -4.0


def readable(scan: Scan, records: str = "records", allowed: int | None = None) -> Finding:
    """Whether every checked image can be decoded; a run skips up to `allowed` bad ones (None: none)."""
    seen, bad = len(scan.numbers), len(scan.failures)
    if not bad:
        how = "all" if scan.complete else f"a sample of {seen:,} of"
        return ok("readable", f"{how} {scan.total:,} {records} read and decoded", looked_at=seen, of=scan.total)
    what = f"{share(bad, seen)} {records} cannot be read; the first: {scan.failures[0][1]}"
    numbers: dict[str, Any] = {"failed": bad, "failures": [reason for _, reason in scan.failures[:100]]}
    expected = round(bad / seen * scan.total)
    if allowed is not None and expected <= allowed:
        return warning("readable", what, f"up to {allowed:,} are skipped: data.bad_records is skip", **numbers)
    advice = "damaged or partly copied: copy or pack the set again, remove these, or set data.bad_records=skip"
    if allowed is not None:
        advice = f"about {expected:,} in total, more than data.max_bad_records={allowed}: copy or pack the set again"
    return fault("readable", what, advice, **numbers)


def contents(scan: Scan) -> Finding:
    """Images that show nothing."""
    blank, seen = len(scan.blank), int(scan.good.sum())
    if not blank:
        return ok("blank images", f"none among {seen:,}")
    says = fault if blank > 0.01 * seen else warning
    return says(
        "blank images",
        f"{share(blank, seen)} are black or of one color, e.g. number {scan.blank[0]}",
        "a failed download, crop or conversion: inspect them, create them again or remove them",
        numbers=scan.blank[:100],
    )


def sizes(scan: Scan, stored: int) -> Finding:
    """The sizes of the images against the size that a run reads them at, in pixels."""
    height, width = scan.height[scan.good], scan.width[scan.good]
    kinds, counts = np.unique(np.stack([width, height], axis=1), axis=0, return_counts=True)
    common = kinds[counts.argmax()]
    what = f"{common[0]} x {common[1]}" if len(kinds) == 1 else f"{extent(width)} x {extent(height)} px"
    stretch = np.maximum(width / height, height / width)
    if np.median(stretch) > 1.5:
        return warning(
            "sizes",
            f"{what}: stretched to {stored} x {stored}",
            "faces are read as squares: crop and align them first",
        )
    if np.median(np.minimum(height, width)) < stored / 2:
        return warning("sizes", f"{what}: enlarged to {stored}", "much detail is missing: are these thumbnails?")
    if np.median(np.minimum(height, width)) > 2 * stored:
        return note(
            "sizes",
            f"{what}: shrunk to {stored} px before the model sees them",
            "full photographs? A face must fill its image: crop and align first",
        )
    if np.median(stretch) > 1.01:
        return note("sizes", f"{what}: not square, stretched to {stored} x {stored}")
    return ok("sizes", what)


def extent(values: np.ndarray) -> str:
    """ "112" or "90..250"."""
    low, high = int(values.min()), int(values.max())
    return f"{low}" if low == high else f"{low}..{high}"


def colors(scan: Scan) -> Finding:
    """Brightness and the order of the channels, from the mean pixel."""
    red, green, blue = (float(x) for x in np.mean(scan.mean[scan.good], axis=0))
    brightness = (red + green + blue) / 3
    what = f"mean pixel {red:.0f} {green:.0f} {blue:.0f} (red, green, blue)"
    if red - blue < SWAPPED:
        return warning(
            "colors",
            f"{what}: faces are bluer than red",
            "the channels are probably swapped (BGR saved as RGB): published weights expect RGB",
        )
    if not 25 < brightness < 230:
        return warning("colors", f"{what}: very {'dark' if brightness < 25 else 'bright'}", "inspect some images")
    if red == green == blue:
        return ok("colors", f"gray images, mean pixel {red:.0f}")
    return ok("colors", what)


def duplicates(scan: Scan, source: Source) -> list[Finding]:
    """Images with the same bytes or pixels: within one identity, and under two identities."""
    if not scan.good.any():
        return []
    numbers, labels = scan.numbers[scan.good], scan.label[scan.good]
    group = np.unique(scan.pixels[scan.good], return_inverse=True)[1]
    bytes_group = np.unique(scan.content[scan.good], return_inverse=True)[1]
    extra = len(group) - int(group.max() + 1)
    where = f"among {len(group):,} images" + ("" if scan.complete else " of the sample (--full compares all)")
    if not extra:
        return [ok("duplicates", f"none {where}")]
    same_bytes = len(group) - int(bytes_group.max() + 1)
    findings = [
        (warning if extra > 0.05 * len(group) else note)(
            "duplicates",
            f"{extra:,} images repeat another {where}, {same_bytes:,} byte for byte",
            "they count twice in training; remove the copies",
            extra=extra,
        )
    ]
    order = np.argsort(group, kind="stable")
    neighbors = (group[order][1:] == group[order][:-1]) & (labels[order][1:] != labels[order][:-1])
    conflicts = np.flatnonzero(neighbors)
    if len(conflicts):
        one, other = (source[int(numbers[order[conflicts[0] + i]])].key for i in (0, 1))
        findings.append(
            (fault if len(conflicts) > 0.01 * len(group) else warning)(
                "contradicting labels",
                f"{len(conflicts):,} images are under two identities, e.g. {one} and {other}",
                "one person under two names, or mixed-up labels: merge the identities or remove the copies",
                conflicts=len(conflicts),
            )
        )
    return findings
