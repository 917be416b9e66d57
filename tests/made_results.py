"""Invented metrics, for tests of what is made from metrics."""

from __future__ import annotations

from typing import Any

from adaptface_jax.evaluation.results import BenchmarkResult
from adaptface_jax.evaluation.verification import DomainVerification


def benchmark_result(accuracy: float, domains: dict[str, float] | None = None, **more: Any) -> BenchmarkResult:
    """600 pairs of this accuracy; domains: name -> accuracy of its 200."""
    figures: dict[str, Any] = {
        "accuracy": accuracy, "accuracy_std": 0.01, "auc": accuracy, "eer": 0.1, "pairs": 600, "threshold": 1.2,
        "best_threshold_accuracy": accuracy, "tar_at_far": {"1e-1": 0.5, "1e-2": None},
        "domains": {name: DomainVerification(value, value, 200) for name, value in (domains or {}).items()},
    }  # fmt: skip
    return BenchmarkResult(**figures | more)
