"""The distance below which two faces count as one person, at a chosen rate of false accepts."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.json_io import read_json
from adaptface_jax.evaluation.roc import FAR_TARGETS, MIN_FALSE_ACCEPTS
from adaptface_jax.evaluation.verification import far_name


def thresholds_at_far(distances: np.ndarray, issame: np.ndarray) -> dict[str, float | None]:
    """FAR target ("1e-3") -> the largest threshold whose FAR on these pairs does not exceed it.

    A pair is accepted where its squared distance is below the threshold, which gives exactly `Roc.tar_at_far`; None
    ("n/a") where under 10 false accepts are expected.

    Args:
      distances: float [N], squared distances of unit embeddings, 0..4. issame: bool [N], with impostors present.
    """
    impostors = np.sort(distances[~np.asarray(issame, bool)])
    far = np.arange(len(impostors)) / len(impostors)  # of a threshold at each impostor: those before it are accepted
    return {
        far_name(target): float(impostors[np.searchsorted(far, target, side="right") - 1])
        if MIN_FALSE_ACCEPTS / len(impostors) <= target
        else None
        for target in FAR_TARGETS
    }


@dataclasses.dataclass(frozen=True)
class Threshold:
    """value: a squared distance of unit embeddings, 0..4. far: as written in files, benchmark: where it was measured,
    both None for a threshold that the caller chose."""

    value: float
    far: str | None = None
    benchmark: str | None = None


def read_results(path: Path) -> dict[str, Any]:
    """A `results.json`, or what `evaluate --output` wrote. Raises InputError where it is neither."""
    if not path.exists():
        raise InputError(
            f"{path}: no such file, so no threshold is known; end the run with a benchmark, or give --threshold"
        )
    results = read_json(path)
    benchmarks = results.get("benchmarks")
    if not isinstance(benchmarks, dict) or not all(isinstance(entry, dict) for entry in benchmarks.values()):
        raise InputError(f"{path}: holds no benchmarks; expected results.json or what evaluate --output wrote")
    return results


def choose_threshold(
    benchmarks: Mapping[str, Mapping[str, Any]], where: str, benchmark: str | None = None, far: float | None = None
) -> Threshold:
    """The stored threshold at a FAR.

    Args:
      benchmarks: name -> its entry of results.json. where: names them in errors.
      benchmark: whose threshold; None for the first. far: None for the smallest that is known.

    Raises InputError, which says what is known, where there is no such benchmark or no threshold at that FAR.
    """
    if not benchmarks:
        raise InputError(f"{where}: no benchmark was evaluated, so no threshold is known; give --threshold")
    name = next(iter(benchmarks)) if benchmark is None else benchmark
    if name not in benchmarks:
        raise InputError(f"--benchmark: {name} is not in {where}; expected one of {', '.join(benchmarks)}")
    stored = benchmarks[name].get("threshold_at_far")
    known = {
        key: float(value)
        for key, value in (stored.items() if isinstance(stored, dict) else ())
        if isinstance(value, int | float)
    }
    if not known:
        reason = "its pairs are too few for any FAR" if stored else "it was evaluated before thresholds were stored"
        raise InputError(f"{where}: no threshold of {name} is known ({reason}); evaluate it anew or give --threshold")
    if far is None:
        key = min(known, key=float)
    else:
        found = [key for key in known if math.isclose(float(key), far)]
        if not found:
            raise InputError(
                f"--far: {far:g} is not known for {name} (n/a: under 10 false accepts are expected, or it was not "
                f"measured); expected one of {', '.join(known)}"
            )
        (key,) = found
    return Threshold(known[key], key, name)
