# SPDX-License-Identifier: Apache-2.0
"""When two faces count as one person: a threshold, and what is known about it."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from adaptface_jax.api.site_file import SiteFile, read_site_file
from adaptface_jax.api.site_name import SITE
from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import plural, shown
from adaptface_jax.data.benchmarks.synthetic import generated_of
from adaptface_jax.evaluation.likelihood import Calibration
from adaptface_jax.evaluation.pair_scores import SCORES, PairScores, read_scores
from adaptface_jax.evaluation.results import BenchmarkResults, read_results
from adaptface_jax.evaluation.risk import Risk, measured_risk
from adaptface_jax.evaluation.roc import FAR_TARGETS
from adaptface_jax.evaluation.thresholds import Threshold, choose_threshold, known_at, stored_results
from adaptface_jax.training.run import RESULTS, read_record

OF_ANOTHER = "the threshold of this site was measured with another model; run adaptface calibrate again"


@dataclasses.dataclass(frozen=True)
class Rule:
    """threshold: of the squared distance. step: of the run at which it was measured, None if unknown. benchmarks: the
    results in the file it may come from. risk: what it accepts falsely; calibration: what distances mean; None if
    unknown. fingerprint: of the model that a site's threshold was measured with. note: the caveat for the model that
    uses it, one line, or None. foreign: whether that is a different model from the one a site's threshold was measured
    with, so that its FAR does not hold."""

    threshold: Threshold
    step: int | None = None
    benchmarks: BenchmarkResults = dataclasses.field(default_factory=dict)
    risk: Risk | None = None
    calibration: Calibration | None = None
    fingerprint: str | None = None
    note: str | None = None
    foreign: bool = False

    def applied(self, step: int | None, fingerprint: Callable[[], str]) -> Rule:
        """As it applies to a model of this step (None: not from a run) and with the fingerprint that the call
        returns."""
        if self.fingerprint is not None and self.fingerprint != fingerprint():
            return dataclasses.replace(self, risk=None, note=OF_ANOTHER, foreign=True)
        if self.threshold.benchmark is None or self.step in (None, step):
            return self
        this = "an unadapted backbone" if step is None else f"the checkpoint of step {step}"
        return dataclasses.replace(self, note=f"the threshold was measured at step {self.step}, this is {this}")

    def false_hit_chance(self, people: int) -> float | None:
        """The chance that a stranger's image is within the threshold of one of so many people, 1 - (1 - FAR)^N: as if
        the N comparisons were independent. None if no FAR is known to hold."""
        if self.foreign or self.threshold.far is None:
            return None
        return -math.expm1(people * math.log1p(-float(self.threshold.far)))

    def gate_names(self, experts: int) -> tuple[str, ...]:
        """A name for each gate: the domain on whose images it is the largest, if a benchmark shows one for each."""
        for entry in self.benchmarks.values():
            mean = entry.gates.mean if entry.gates else {}
            largest = {int(np.argmax(gate)): name for name, gate in mean.items()}
            if len(mean) == len(largest) == experts:
                return tuple(largest[expert] for expert in range(experts))
        return tuple(f"expert {expert}" for expert in range(experts))


def if_known(choose: Callable[[], Rule], asked: bool) -> tuple[Rule | None, str | None]:
    """The rule that `choose` finds, or why there is none; raises its InputError if one was asked for."""
    try:
        return choose(), None
    except InputError as error:
        if asked:
            raise
        return None, f"nothing is decided: {error}"


def choose_rule(
    results: Path | None, far: float | None = None, benchmark: str | None = None, threshold: float | None = None
) -> Rule:
    """The threshold given, else the one stored at a FAR: of this site if `calibrate` wrote any, or of a benchmark.

    Args:
      results: a run's results.json, or what `evaluate --output` or `calibrate` wrote; None if there is none. A
      site's thresholds next to a run's results.json take precedence, unless a benchmark is named.
      far, benchmark: as in `choose_threshold`. threshold: a squared distance between unit embeddings, 0..4.

    Raises InputError, which names the flags of `verify`, for values out of range and where no threshold is known.
    """
    if threshold is not None:
        return _own_rule(results, far, benchmark, threshold)
    if far is not None and not 0 < far < 1:
        raise InputError(f"--far: {far:g} is out of range; expected a rate such as 1e-3")
    if results is None:
        raise InputError("--backbone: no threshold is stored with it; give --threshold, or --results of an evaluation")
    site = read_site_file(results)
    if site is None and benchmark is None and results.name == RESULTS:
        site = read_site_file(results.with_name(SITE))
    if site is not None:
        return _site_rule(site, results, far, benchmark)
    stored = stored_results(results)
    chosen = choose_threshold(stored.benchmarks, str(results), benchmark, far)
    assert chosen.benchmark is not None
    assert chosen.far is not None
    scores, faces = kept_scores(results, chosen.benchmark), _faces(results, chosen.benchmark, stored.benchmarks)
    return Rule(
        chosen,
        stored.run.steps if stored.run else None,
        stored.benchmarks,
        measured_risk(scores, chosen.value, faces) if scores else Risk(float(chosen.far), None, faces),
        Calibration(scores.distance, scores.issame) if scores else None,
    )


def known_rules(results: Path, benchmark: str | None = None) -> dict[str, Rule]:
    """FAR -> its rule, if there is one; the arguments are those of `choose_rule`."""
    rules = {}
    for far in FAR_TARGETS:
        with contextlib.suppress(InputError):
            rule = choose_rule(results, far, benchmark)
            rules[str(rule.threshold.far)] = rule
    return rules


def kept_scores(results: Path | None, benchmark: str) -> PairScores | None:
    """The scores of a benchmark's pairs that a run kept next to its results.json; None if it kept none."""
    if results is None or results.name != RESULTS:
        return None
    path = results.parent / SCORES / f"{benchmark}.npz"
    return read_scores(path).get(benchmark) if path.exists() else None


def _own_rule(results: Path | None, far: float | None, benchmark: str | None, threshold: float) -> Rule:
    if not 0 <= threshold <= 4:
        raise InputError(f"--threshold: {threshold:g} is out of range; expected a squared distance in 0..4")
    if benchmark is not None or far is not None:
        name = "--far" if benchmark is None else "--benchmark"
        raise InputError(f"{name}: selects a stored threshold, and --threshold gives one; omit one")
    exists = results is not None and results.exists() and read_site_file(results) is None
    stored = read_results(results).benchmarks if results and exists else {}
    name = next(iter(stored), "")
    scores = kept_scores(results, name) if results and name else None
    if results is None or scores is None:
        return Rule(Threshold(threshold), benchmarks=stored)
    risk = measured_risk(scores, threshold, _faces(results, name, stored))
    return Rule(Threshold(threshold), None, stored, risk, Calibration(scores.distance, scores.issame))


def _site_rule(site: SiteFile, results: Path, far: float | None, benchmark: str | None) -> Rule:
    if benchmark is not None:
        raise InputError(f"--benchmark: {results} holds the thresholds of a site; omit it")
    known = {name: found.value for name, found in site.site.at_far.items()}
    name = known_at(known, far, "this site", site.wanted(far) or "--benchmark=NAME takes that of a benchmark")
    found = site.site.at_far[name]
    stored = read_results(results).benchmarks if results.name == RESULTS and results.exists() else {}
    faces = f"{plural(site.site.photographs, 'photograph')} of this site ({shown(site.pile)}), nobody labeled"
    return Rule(
        Threshold(found.value, name),
        benchmarks=stored,
        risk=Risk(float(name), found.far_interval, faces),
        fingerprint=site.fingerprint,
    )


def _faces(results: Path, benchmark: str, benchmarks: BenchmarkResults) -> str:
    """Whose faces a benchmark's threshold was measured on."""
    entry = benchmarks[benchmark]
    count = entry.intervals.people if entry.intervals else 0  # 0 in files of earlier versions
    people = f" of {plural(count, 'person')}" if count else ""
    made = ", generated faces" if _generated(results, benchmark) else ""
    return f"{benchmark}: {plural(entry.pairs, 'pair')}{people}{made}"


def _generated(results: Path, benchmark: str) -> bool:
    """Whether a run's record says that a benchmark's faces were generated."""
    record: dict[str, Any] = (read_record(results.parent) or {}) if results.name == RESULTS else {}
    path = record.get("config", {}).get("data", {}).get("benchmarks", {}).get(benchmark, "")
    return isinstance(path, str) and bool(generated_of({benchmark: path}))
