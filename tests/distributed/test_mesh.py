# SPDX-License-Identifier: Apache-2.0
"""A batch that its devices and parts cannot share says so."""

import jax
import pytest

from adaptface_jax.core.errors import InputError
from adaptface_jax.distributed.mesh import check_batch, make_mesh


@pytest.mark.parametrize(
    ("devices", "parts", "words"),
    [
        (3, 1, "over 3 devices; use a multiple of 3"),
        (3, 2, "over 3 devices and into 2 parts (train.grad_accum); use a multiple of 6"),
        (1, 5, "into 5 parts (train.grad_accum); use a multiple of 5"),
    ],
)
def test_a_batch_must_split_evenly(devices, parts, words):
    mesh = make_mesh(jax.devices()[:devices])
    with pytest.raises(InputError) as error:
        check_batch(32, parts, mesh)
    assert str(error.value) == f"train.batch_size: 32 does not split evenly {words}"
    check_batch(30, parts, mesh)
