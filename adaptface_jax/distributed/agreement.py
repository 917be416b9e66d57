"""Checks that inputs are the same in every process of a run, before they are used."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from jax.experimental import multihost_utils

from adaptface_jax.core import trees
from adaptface_jax.core.errors import InputError
from adaptface_jax.core.json_io import to_json
from adaptface_jax.core.text import shortened
from adaptface_jax.distributed.processes import several

_SHOWN = 4  # differences in the message


def check_agreed(what: str, facts: Mapping[str, Any]) -> None:
    """Every process of the run calls this at the same point of its program, with facts that JSON can hold.

    Raises InputError in all of them if any two differ: which facts, and the value in each process.
    """
    if not several():
        return
    every = [json.loads(text) for text in _gathered(to_json(dict(facts)))]
    names = {name for other in every[1:] for name, _, _ in trees.difference(every[0], other)}
    if not names:
        return
    flat = [trees.flatten(one, ".") for one in every]
    told = [
        f"{name}: " + ", ".join(f"{shortened(repr(one.get(name)), 60)} in process {i}" for i, one in enumerate(flat))
        for name in sorted(names)
    ]
    more = f" and {len(told) - _SHOWN} more" if len(told) > _SHOWN else ""
    raise InputError(
        f"the processes of the run differ in {what} ({'; '.join(told[:_SHOWN])}{more}); start all of them alike"
    )


def _gathered(text: str) -> list[str]:
    """The text of each process, in order."""
    data = np.frombuffer(text.encode(), np.uint8)
    lengths = multihost_utils.process_allgather(np.int32(len(data)))
    padded = np.zeros(int(lengths.max()), np.uint8)
    padded[: len(data)] = data
    rows = multihost_utils.process_allgather(padded)
    return [bytes(np.asarray(row[:length])).decode() for row, length in zip(rows, lengths, strict=True)]
