"""The loss of a model on benchmarks that it should not get worse on: old and new are compared on the same pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from adaptface_jax.evaluation.statistics.jackknife import resting_on
from adaptface_jax.evaluation.statistics.paired_test import Comparison


def fallen(found: Mapping[str, Comparison], names: Sequence[str], points: float) -> dict[str, Comparison]:
    """Those of `names` whose 95% interval of the change in accuracy is entirely below -`points` (percent).

    A comparison over too few people never shows a loss.
    """
    return {
        name: found[name]
        for name in names
        if name in found and not found[name].few and 100 * found[name].accuracy_interval[1] < -points
    }


def change_line(name: str, found: Comparison) -> str:
    """The change from the old model to the new one, in one line."""
    low, high = (100 * end for end in found.accuracy_interval)
    return (
        f"{name}: accuracy {100 * found.accuracy_difference:+z.2f} points (95% {low:+z.2f} to {high:+z.2f}, "
        f"p {found.accuracy_p:.2g}), AUC {found.auc_difference:+z.4f} (p {found.auc_p:.2g}), "
        f"{found.only_first:,} pairs lost and {found.only_second:,} won; {resting_on(found.people, found.few)}"
    )
