"""The scripts in the READMEs of exported folders: they run unchanged, from any folder, and give our embedding."""

from __future__ import annotations

import re
import runpy
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from adaptface_jax.data.augmentation.augment import preprocess
from adaptface_jax.distributed.mesh import make_mesh
from adaptface_jax.export import __main__ as export
from adaptface_jax.training.recognition.model import unadapted
from adaptface_jax.training.recognition.run import open_run
from tests import made_models as models
from tests.running import call

TOLERANCE = 1e-5
HIDDEN = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")
PEERS, ONNX = (pytest.mark.peers, HIDDEN), pytest.mark.onnx


@pytest.fixture(scope="module")
def embedded(workdirs):
    """embedded(kind, adapted): the unit embedding of an export's face, by a run or by its bare backbone."""

    def of(kind: str, adapted: bool, face: np.ndarray) -> np.ndarray:
        model, _ = open_run(workdirs / kind, "best", make_mesh(), dtype="float32")
        recognizer, trainable = model.recognizer, model.trainable
        if not adapted:
            recognizer, trainable = type(recognizer)(recognizer.spec, unadapted(recognizer.config), np.float32), {}
        images = preprocess(face[None], 28, recognizer.spec.stats, jnp.float32)
        embedding = np.asarray(jax.jit(recognizer.embed)(model.frozen, trainable, images).embedding)
        return embedding / np.linalg.norm(embedding)

    return of


def run_readme(folder, elsewhere, monkeypatch) -> np.ndarray:
    """Run the script in a README as a user would, and return its embedding."""
    text = (folder / "README.md").read_text()
    (script,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    (folder / "try.py").write_text(script)
    monkeypatch.chdir(elsewhere)
    names = runpy.run_path(str(folder / "try.py"))
    return np.asarray(names["embedding"] if "embedding" in names else names["result"]["embedding"])


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("dalora", ["--format=stablehlo"]),
        ("lora", ["--format=stablehlo", "--no-preprocess"]),
        pytest.param("dalora", ["--format=onnx"], marks=ONNX),
        pytest.param("lora", ["--format=onnx", "--no-preprocess"], marks=ONNX),
        pytest.param("lora", ["--format=merged"], marks=PEERS),
        pytest.param("lora", ["--format=peft", "--with_base"], marks=PEERS),
        pytest.param("lora", ["--format=base"], marks=PEERS),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_the_script_gives_the_embedding_of_the_run(kind, words, workdirs, embedded, tmp_path, monkeypatch, capsys):
    for name in {"--format=onnx": ["jax2onnx"], "--format=stablehlo": []}.get(words[0], ["transformers", "peft"]):
        pytest.importorskip(name)
    assert call(export, f"--run={workdirs / kind}", *words, f"--out={tmp_path / 'out'}") == 0
    found = run_readme(tmp_path / "out", workdirs, monkeypatch)
    face = np.asarray(Image.open(tmp_path / "out" / "face.png"))
    expected = embedded(kind, "--format=base" not in words, face)
    assert models.relative(found, expected) <= TOLERANCE
    assert "[" in capsys.readouterr().out  # the script prints it


@pytest.mark.peers
@HIDDEN
def test_without_its_base_the_readme_of_an_adapter_names_the_commands_for_it(
    workdirs, embedded, tmp_path, monkeypatch, capsys
):
    pytest.importorskip("peft")
    out = tmp_path / "out"
    assert call(export, f"--run={workdirs / 'lora'}", "--format=peft", f"--out={out}") == 0
    commands = re.findall("^    adaptface export (.*)", (out / "README.md").read_text(), re.MULTILINE)
    named = {"RUN": workdirs / "lora", "WEIGHTS": workdirs / "hub", "base": out / "base"}
    assert len(commands) == 2
    for command in commands:
        shutil.rmtree(out / "base", ignore_errors=True)
        words = [re.sub("=(RUN|WEIGHTS|base)$", lambda found: f"={named[found[1]]}", word) for word in command.split()]
        assert call(export, *[word if "--format" not in word else "--format=base" for word in words]) == 0
        face = np.asarray(Image.open(out / "face.png"))
        assert models.relative(run_readme(out, workdirs, monkeypatch), embedded("lora", True, face)) <= TOLERANCE
