# SPDX-License-Identifier: Apache-2.0
"""A few images of a source, to overfit on (`data.overfit_small`)."""

from __future__ import annotations

import numpy as np

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import plural
from adaptface_jax.data.record import Source
from adaptface_jax.data.sources.selection import Selection


def small_sample(source: Source, count: int) -> Selection:
    """`count` records spread evenly over the source, so that they cover many classes.

    Raises InputError if the source has fewer.
    """
    if count > len(source):
        raise InputError(
            f"--overfit_small: {count} is more than the {plural(len(source), 'image')} of {source.description}"
        )
    return Selection(
        source,
        np.linspace(0, len(source) - 1, count).round().astype(np.int64),
        f"{plural(count, 'image')} spread over it",
    )
