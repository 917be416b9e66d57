# SPDX-License-Identifier: Apache-2.0
"""Which devices are those that kernels and compiler options were measured on."""

from __future__ import annotations

from types import SimpleNamespace

import jax
import pytest

from adaptface_jax.distributed.devices import capability, is_hopper


@pytest.mark.parametrize(
    ("platform", "given", "expected"),
    [
        ("gpu", "9.0", 9),
        ("gpu", "8.6", 8),
        ("gpu", "10.0", 10),
        ("gpu", "gfx90a", 0),
        ("tpu", None, 0),
        ("cpu", None, 0),
    ],
)
def test_only_gpus_of_nvidia_have_a_capability(platform: str, given: str | None, expected: int) -> None:
    device = SimpleNamespace(platform=platform, **{"compute_capability": given} if given else {})
    assert capability(device) == expected
    assert is_hopper(device) == (expected == 9)


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="a GPU")
def test_the_device_at_hand() -> None:
    assert not is_hopper(jax.devices()[0])
