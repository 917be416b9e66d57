"""The two networks here and in torch: the same twenty steps, running moments and Dropout2d masks included."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tests import classifier_runs as ours

pytestmark = pytest.mark.peers
pytest.importorskip("torch")
twin = pytest.importorskip("tests.peers.classifier_twin")

TRAINS = {
    "adam": ours.TRAIN,
    "adamw": dataclasses.replace(ours.TRAIN, optimizer="adamw", weight_decay=0.05),
    "sgd": ours.GOLDEN,
}

# A bias before a normalization changes only the running mean after it: its gradient is rounding error, which Adam turns
# into full steps. Under SGD it is compared like the others.
WITHOUT_GRADIENT = {f"conv{i}/bias" for i in (1, 2, 3)} | {f"norm{i}/mean" for i in (1, 2, 3)}


@pytest.mark.parametrize(
    ("case", "train"), [*((case, "adam") for case in ours.CASES), ("resnet", "adamw"), ("cnn", "sgd")]
)
def test_twenty_steps_agree(case, train):
    model = ours.CASES[case]
    found, expected = ours.run(model, TRAINS[train]), twin.run(model, TRAINS[train])
    np.testing.assert_allclose(found["losses"], expected["losses"], rtol=1e-4)
    np.testing.assert_allclose(found["logits"], expected["logits"], rtol=1e-4, atol=1e-4)
    for part in ("params", "moments"):
        for path, leaf in expected[part].items():
            if train == "adam" and case == "cnn" and path in WITHOUT_GRADIENT:
                continue
            difference = np.linalg.norm(found[part][path] - leaf) / np.linalg.norm(leaf)
            assert difference < 1e-4, (path, difference)
