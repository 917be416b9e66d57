"""What `open` accepts, and how it refuses the rest."""

from __future__ import annotations

import importlib.resources
import sys

import numpy as np
import pytest

import adaptface_jax as af
from adaptface_jax.weights.folder import write_folder
from adaptface_jax.weights.loading import read_weights
from tests.children import one_device, ran


def test_a_run_is_opened_at_its_checkpoint(trained, run):
    assert trained.facts["run"] == str(run) and trained.facts["step"] == 7
    assert trained.facts["backbone"]["source"] == "builtin"
    assert af.open(str(run), checkpoint=7).fingerprint == trained.fingerprint


def test_converted_folder_file_and_name_give_the_same_model(backbone, crops, tmp_path):
    packaged = importlib.resources.files("adaptface_jax") / "assets" / "demo_backbone"
    converted = tmp_path / "converted"
    write_folder(read_weights(packaged, "builtin").weights, converted)
    expected = backbone.embed(crops[:2])
    for source in (packaged, converted, str(packaged)):
        model = af.open(source, image_size=28)
        assert model.fingerprint == backbone.fingerprint
        np.testing.assert_array_equal(model.embed(crops[:2]).embeddings, expected.embeddings)


def test_fingerprints_distinguish_models(backbone, trained, run):
    assert len({backbone.fingerprint, trained.fingerprint, af.open("builtin", image_size=42).fingerprint}) == 3
    assert af.open(run, dtype="bfloat16").fingerprint == trained.fingerprint


def test_dtype_is_that_of_the_computation(run, crops, trained):
    rounded = af.open(run, dtype="bfloat16").embed(crops[:2]).embeddings
    assert 1e-6 < np.abs(rounded - trained.embed(crops[:2]).embeddings).max() < 0.1


@pytest.mark.parametrize(
    ("source", "arguments", "said"),
    [
        ("runs/2026/absent", {}, "runs/2026/absent: no such file or folder"),
        ("EMPTY", {}, "EMPTY"),
        ("builtin", {"checkpoint": "latest"}, "checkpoint: builtin is not a run"),
        ("builtin", {"image_size": 30}, "30 is not a multiple"),
        ("builtin", {"feature": "tokens"}, "feature: 'tokens' is not known; expected one of cls, projected"),
        ("builtin", {"feature": "projected"}, "has no projection"),
        ("builtin", {"dtype": "int8"}, "dtype: 'int8' is not known; expected one of auto, float32, bfloat16"),
        ("builtin", {"batch_size": 0}, "batch_size: 0 is out of range"),
        ("RUN", {"checkpoint": "8"}, "checkpoint: "),
        ("RUN", {"image_size": 28}, "image_size: "),
        ("RUN", {"feature": "projected"}, "feature: "),
    ],
)
def test_what_cannot_be_opened_gives_one_line(source, arguments, said, run, tmp_path):
    place = {"EMPTY": str(tmp_path), "RUN": str(run)}
    with pytest.raises(af.InputError) as error:
        af.open(place.get(source, source), **arguments)
    message = str(error.value)
    assert place.get(said, said) in message and "\n" not in message and "--" not in message


def test_the_package_imports_at_once_and_lists_its_names():
    program = (
        "import sys, adaptface_jax as af\n"
        "assert 'jax' not in sys.modules and 'numpy' not in sys.modules\n"
        "assert set(af.__all__) <= set(dir(af))\n"
        "try:\n    af.absent\n"
        "except AttributeError as error:\n    print(error)\n"
    )
    ended = ran(sys.executable, "-c", program, env=one_device())
    assert ended.out == "module 'adaptface_jax' has no attribute 'absent'\n", ended.error


def test_a_command_in_an_error_message_stays_a_command(monkeypatch):
    """Flags become arguments in Python, but a command to type stays as it is."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(af.InputError, match=r"adaptface convert \./FOLDER --out OUT"):
        af.open("nobody/nothing")
