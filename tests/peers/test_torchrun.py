# SPDX-License-Identifier: Apache-2.0
"""Two processes under torchrun itself."""

from __future__ import annotations

import sys

import pytest

from adaptface_jax.training.monitor import read_metrics
from tests.children import one_device, ran
from tests.running import write_config

pytestmark = pytest.mark.peers
pytest.importorskip("torch.distributed.run", reason="torchrun cannot be used")


def test_torchrun_starts_one_run(tmp_path):
    config = write_config(
        tmp_path / "small.py",
        {
            "backbone.weights": "builtin",
            "data.train": "synthetic:identities=4,images=4",
            "train.batch_size": 8,
            "train.steps": 2,
            "train.log_every": 1,
        },
    )
    launcher = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")
    program = ("-m", "adaptface_jax.train", f"--config={config}", f"--workdir={tmp_path / 'run'}")
    done = ran(*launcher, *program, env=one_device())
    assert done.status == 0, done.error[-2000:]
    assert "2 x cpu" in done.out
    assert [row["step"] for row in read_metrics(tmp_path / "run") if "train/loss" in row] == [1, 2]
