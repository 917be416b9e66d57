"""Makes classifiers.npz: twenty steps of some cases of tests/classifier_runs.py in torch.

    python -m tests.goldens.make_classifiers

Losses [20], the logits of the last batch in use, and the running moments after the last step. SGD, under which every
parameter is determined (tests/peers/test_classifiers.py says which one Adam leaves to rounding).
"""

from pathlib import Path

import numpy as np

from tests import classifier_runs
from tests.peers import classifier_twin

if __name__ == "__main__":
    arrays = {}
    for case in ("cnn", "resnet", "resnet_gelu_plain"):
        model = classifier_runs.CASES[case]
        found = classifier_twin.run(model, classifier_runs.GOLDEN)
        arrays[f"{case}/losses"], arrays[f"{case}/logits"] = found["losses"].astype(np.float32), found["logits"]
        arrays |= {f"{case}/{path}": leaf for path, leaf in found["moments"].items()}
    np.savez_compressed(Path(__file__).with_name("classifiers.npz"), **arrays)
