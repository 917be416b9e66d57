"""The distance below which two faces count as the same person, at a chosen false accept rate."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from adaptface_jax.core.errors import InputError
from adaptface_jax.evaluation.results import BenchmarkResults, Results, read_results
from adaptface_jax.evaluation.roc import FAR_TARGETS, MIN_FALSE_ACCEPTS, far_name


def thresholds_at_far(distances: np.ndarray, issame: np.ndarray) -> dict[str, float | None]:
    """FAR target ("1e-3") -> the largest threshold whose FAR on these pairs does not exceed it.

    A pair is accepted where its squared distance is below the threshold, which gives exactly `Roc.tar_at_far`; None
    ("n/a") if under 10 false accepts are expected.

    Args:
      distances: float [N], squared distances of unit embeddings, 0..4. issame: bool [N], with impostors present.
    """
    impostors = np.sort(distances[~np.asarray(issame, bool)])
    far = np.arange(len(impostors)) / len(
        impostors
    )  # of a threshold at each impostor pair: those before it are accepted
    return {
        far_name(target): float(impostors[np.searchsorted(far, target, side="right") - 1])
        if MIN_FALSE_ACCEPTS / len(impostors) <= target
        else None
        for target in FAR_TARGETS
    }


@dataclasses.dataclass(frozen=True)
class Threshold:
    """value: a squared distance of unit embeddings, 0..4. far: as written in files, None if the caller chose the value.
    benchmark: where it was measured, None on photographs of the site (`adaptface calibrate`).

    >>> import adaptface_jax as af
    >>> af.Threshold(1.2)
    Threshold(value=1.2, far=None, benchmark=None)
    """

    value: float
    far: str | None = None
    benchmark: str | None = None


def described(threshold: Threshold) -> str:
    """The threshold and its source."""
    if threshold.far is None:
        return f"{threshold.value:.4f}, as given"
    place = "this site" if threshold.benchmark is None else f"benchmark {threshold.benchmark}"
    return f"{threshold.value:.4f}, the threshold at FAR {threshold.far} of {place}"


def stored_results(path: Path) -> Results:
    """The results that thresholds are taken from. Raises InputError if there are none."""
    if not path.exists():
        raise InputError(
            f"{path}: no such file, so no threshold is known; evaluate the run on a benchmark, or give --threshold"
        )
    return read_results(path)


def choose_threshold(
    benchmarks: BenchmarkResults, where: str, benchmark: str | None = None, far: float | None = None
) -> Threshold:
    """The stored threshold at a FAR.

    Args:
      benchmarks: name -> its metrics. where: names them in errors.
      benchmark: whose threshold; None for the first. far: None for the smallest known one.

    Raises InputError, which lists the known ones, if there is no such benchmark or no threshold at that FAR.
    """
    if not benchmarks:
        raise InputError(f"{where}: no benchmark was evaluated, so no threshold is known; give --threshold")
    name = next(iter(benchmarks)) if benchmark is None else benchmark
    if name not in benchmarks:
        raise InputError(f"--benchmark: {name} is not in {where}; expected one of {', '.join(benchmarks)}")
    stored = benchmarks[name].threshold_at_far
    known = {key: value for key, value in stored.items() if value is not None}
    if not known:
        reason = "it has too few pairs for any FAR" if stored else "it was evaluated before thresholds were stored"
        raise InputError(f"{where}: no threshold of {name} is known ({reason}); evaluate it again or give --threshold")
    key = known_at(known, far, name, "n/a: under 10 false accepts are expected, or it was not measured")
    return Threshold(known[key], key, name)


def known_at(known: Mapping[str, float], far: float | None, place: str, reason: str) -> str:
    """The name of a known FAR, of at least one; None for the smallest.

    Raises InputError, which lists the known ones; place, reason: their source, and why there are no more.
    """
    if far is None:
        return min(known, key=float)
    for key in known:
        if math.isclose(float(key), far):
            return key
    raise InputError(f"--far: {far:g} is not known for {place} ({reason}); expected one of {', '.join(known)}")
