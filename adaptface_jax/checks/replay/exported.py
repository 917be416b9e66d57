# SPDX-License-Identifier: Apache-2.0
"""Whether an exported adapter has the values of a run's checkpoint."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np

from adaptface_jax.checks.finding import Finding, fault, ok
from adaptface_jax.checks.replay.replayer import Replayer
from adaptface_jax.core.errors import InputError
from adaptface_jax.training.fingerprint import leaf_names
from adaptface_jax.training.plan import Plan
from adaptface_jax.training.recognition.plan import RecognitionPlan
from adaptface_jax.weights.peft.files import is_adapter
from adaptface_jax.weights.peft.start import start_from


def exported(folder: Path, plan: Plan, replayer: Replayer, steps: Sequence[int]) -> Finding:
    """Compares a folder of `export --format=peft` with the checkpoints of `steps`, bit for bit; names the nearest one.

    What the folder does not contain, such as the class centers, is not compared.
    Raises InputError for a run without an adapter or an intact checkpoint, and if the folder is no such export.
    """
    if not isinstance(plan, RecognitionPlan) or "adapter" not in plan.trainable:
        raise InputError("--exported: the run has no adapter, so none was exported")
    if not folder.is_dir() or not any(map(is_adapter, (folder, *folder.iterdir()))):
        problem = "holds no adapter" if folder.is_dir() else "is not a folder"
        raise InputError(f"--exported: {folder} {problem}; expected the output of `adaptface export --format=peft`")
    if not steps:
        raise InputError("--exported: the run has no intact checkpoint to compare it with")
    config = plan.config
    wanted = dataclasses.replace(config, adapter=dataclasses.replace(config.adapter, init_from=str(folder)))
    try:
        held, _ = start_from(wanted, plan.model.recognizer.spec, plan.trainable)
    except InputError as error:
        return fault("exported", f"{folder}: not from this run ({error})", _ADVICE)
    parts = [name for name in held if held[name] is not plan.trainable[name]]
    found = {name: held[name] for name in parts}
    names, differing = leaf_names(found), dict[int, list[str]]()
    for step in steps:
        trained = replayer.start(step).trainable
        pairs = zip(jax.tree.leaves({name: trained[name] for name in parts}), jax.tree.leaves(found), strict=True)
        differing[step] = [name for name, pair in zip(names, pairs, strict=True) if not np.array_equal(*pair)]
    nearest = min(reversed(steps), key=lambda step: len(differing[step]))
    wrong = differing[nearest]
    if not wrong:
        return ok("exported", f"{folder}: {', '.join(parts)} of checkpoint {nearest:,}, bit for bit")
    what = f"{folder}: matches no checkpoint; the nearest is {nearest:,}, from which {wrong[0]}"
    more = f" and {len(wrong) - 1} more differ" if len(wrong) > 1 else " differs"
    return fault("exported", what + more, _ADVICE)


_ADVICE = "export it again, or find the run it came from"
