"""Combinations drawn in sequence by Optuna's TPE sampler (extra `optuna`, imported where it is used).

Each draw has its own study, built from what has ended so far and seeded by its number: a resumed grid draws what an
uninterrupted one would have drawn.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Sequence
from typing import Any

from adaptface_jax.core.errors import InputError
from adaptface_jax.grid.record import FAILED, FINISHED, SubRun
from adaptface_jax.grid.sweeps import Choice, Range, Sweep
from adaptface_jax.grid.table import worth

ATTEMPTS = 100  # draws with the same number until one is new


def require_optuna() -> None:
    """Raises InputError if it is not installed."""
    if importlib.util.find_spec("optuna") is None:
        raise InputError("--trials: needs Optuna, which is not installed; pip install 'adaptface_jax[optuna]'")


def draw(sweeps: Sequence[Sweep], runs: Sequence[SubRun], seed: int) -> Choice | None:
    """The next combination after `runs`, in drawing order; None if no new one comes up."""
    taken = [run.choice for run in runs]
    for attempt in range(ATTEMPTS):
        choice = _ask(sweeps, runs, [seed, len(runs), attempt])
        if choice not in taken:
            return choice
    return None


def _ask(sweeps: Sequence[Sweep], runs: Sequence[SubRun], seeds: list[int]) -> dict[str, str]:
    import numpy as np
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    seed = int(np.random.SeedSequence(seeds).generate_state(1)[0])
    waiting = any(run.state not in (FINISHED, FAILED) for run in runs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        # With several devices some have not ended; the constant liar stays away from them.
        sampler = optuna.samplers.TPESampler(seed=seed, constant_liar=waiting)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    space = {sweep.setting: _distribution(sweep) for sweep in sweeps}
    states = {FINISHED: optuna.trial.TrialState.COMPLETE, FAILED: optuna.trial.TrialState.FAIL}
    for run in runs:
        value = worth(run)
        state = states.get(run.state, optuna.trial.TrialState.RUNNING)
        if run.state == FINISHED and value is None:
            state = optuna.trial.TrialState.FAIL
        params = {sweep.setting: _parameter(sweep, run.choice[sweep.setting]) for sweep in sweeps}
        complete = state == optuna.trial.TrialState.COMPLETE
        study.add_trial(
            optuna.trial.create_trial(
                state=state, params=params, distributions=space, value=value if complete else None
            )
        )
    drawn = study.ask(space).params
    return {
        sweep.setting: sweep.text(drawn[sweep.setting]) if isinstance(sweep, Range) else drawn[sweep.setting]
        for sweep in sweeps
    }


def _distribution(sweep: Sweep) -> Any:
    import optuna

    if not isinstance(sweep, Range):
        return optuna.distributions.CategoricalDistribution(sweep.texts)
    if sweep.whole:
        return optuna.distributions.IntDistribution(int(sweep.low), int(sweep.high), log=sweep.log)
    return optuna.distributions.FloatDistribution(sweep.low, sweep.high, log=sweep.log)


def _parameter(sweep: Sweep, text: str) -> Any:
    if not isinstance(sweep, Range):
        return text
    return int(text) if sweep.whole else float(text)
