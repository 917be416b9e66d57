# SPDX-License-Identifier: Apache-2.0
"""`adaptface_jax.convert` as it is typed: what it prints, its exit status, and a local hub."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from adaptface_jax.convert import work as convert_work
from adaptface_jax.core.errors import InputError
from adaptface_jax.models.specs import BACKBONES
from adaptface_jax.weights import hub
from adaptface_jax.weights.loading import load_backbone
from adaptface_jax.weights.names.dialects import HF_DINOV2
from tests import made_weights as dialects
from tests.children import PATIENCE
from tests.weights import archives
from tests.weights.file_shapes import file_shapes

ROOT = Path(__file__).resolve().parents[2]
MODULE = ("-m", "adaptface_jax.convert")
TOOL = (str(ROOT / "tools" / "convert_weights.py"),)


def run(*arguments: object, started: tuple[str, ...] = MODULE, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *started, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        timeout=PATIENCE,
        check=False,
    )


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Path:
    """A synthetic demo backbone in the Hugging Face layout."""
    folder = tmp_path_factory.mktemp("demo")
    rng = np.random.default_rng(0)
    shapes = file_shapes(HF_DINOV2, BACKBONES["demo"]).items()
    tensors = {name: rng.standard_normal(shape, dtype=np.float32) for name, shape in shapes}
    safetensors.numpy.save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"num_attention_heads": 4, "layer_norm_eps": 1e-6}))
    return folder


def test_a_local_folder_is_converted_and_described(demo, tmp_path):
    result = run(demo, "--out", tmp_path / "out")
    assert (result.returncode, result.stderr) == (0, "")
    sha256 = hashlib.sha256((demo / "model.safetensors").read_bytes()).hexdigest()
    tensors = len(file_shapes(HF_DINOV2, BACKBONES["demo"])) - 1  # its mask token
    for text in ("demo from ", f"{tensors} read", sha256, "bicubic, native grid 8 x 8", "gelu (config.json)"):
        assert text in result.stdout
    description = json.loads((tmp_path / "out" / "backbone.json").read_text())
    assert description == {
        "name": "demo",
        "source": str(demo),
        "sha256": sha256,
        "position_rule": "bicubic",
        "image_statistics": {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]},
        "activation": "gelu",
        "projection": None,
        "dtype": "float32",
    }


def test_the_tool_of_the_checkout_is_the_command(demo, tmp_path):
    written, told = [], []
    for started in (MODULE, TOOL):
        result = run(demo, "--out", tmp_path / "out", "--overwrite", started=started)
        told.append((result.returncode, result.stdout, result.stderr))
        written.append({file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()})
    assert told[0] == told[1] and told[0][0] == 0
    assert written[0] == written[1] != {}


def test_a_failure_exits_with_2_and_one_line(demo, tmp_path):
    result = run(demo, "--out", tmp_path / "out", "--name", "dinov2_vits14")
    assert (result.returncode, result.stdout) == (2, "")
    assert "weights of demo, not of dinov2_vits14" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "source",
    ["./absent", "/absent/folder", "absent.safetensors", "a/b.safetensors", "a/b/c", "absent", "../x", "a//b"],
)
def test_what_looks_like_a_path_is_never_looked_up_on_the_hub(source, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hub, "_download", lambda repo: pytest.fail(f"asked the hub for {repo}"))
    with pytest.raises(InputError, match="no such file or folder"):
        hub.resolve(source)


def test_a_name_under_a_folder_that_exists_is_a_path(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights").mkdir()
    with pytest.raises(InputError, match="no such file or folder"):
        hub.resolve("weights/dinov2_small")


def test_an_existing_path_comes_before_a_hub_id(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "facebook" / "dinov2-small").mkdir(parents=True)
    assert hub.resolve("facebook/dinov2-small") == Path("facebook/dinov2-small")


def test_what_the_files_say_can_be_overruled_and_is_recorded(demo, tmp_path):
    result = run(demo, "--out", tmp_path / "out", "--position_rule", "dinov2", "--activation", "quick_gelu")
    assert (result.returncode, result.stderr) == (0, "")
    assert "dinov2, native grid 8 x 8" in result.stdout
    assert "quick_gelu (as requested)" in result.stdout
    description = json.loads((tmp_path / "out" / "backbone.json").read_text())
    assert (description["position_rule"], description["activation"]) == ("dinov2", "quick_gelu")
    identity = load_backbone(str(tmp_path / "out"), "demo", 56).identity
    assert (identity["position_rule"], identity["activation"]) == ("dinov2", "quick_gelu")


def test_given_statistics_take_precedence_and_are_recorded(demo, tmp_path):
    lines = convert_work.convert(str(demo), tmp_path / "out", mean="0.5", std="0.1,0.2,0.3")
    assert "  statistics  mean 0.5 0.5 0.5, std 0.1 0.2 0.3 (as requested)" in lines
    stats = load_backbone(str(tmp_path / "out"), "demo", 56).spec.stats
    assert (stats.mean, stats.std) == ((0.5, 0.5, 0.5), (0.1, 0.2, 0.3))
    assert any(
        "statistics" in line and "assumed" in line for line in convert_work.convert(str(demo), tmp_path / "other")
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"mean": "0.5"}, "--std: is missing"),
        ({"std": "0.5"}, "--mean: is missing"),
        ({"mean": "0.5,0.5", "std": "0.2"}, "--mean and --std: the given values"),
        ({"mean": "x", "std": "0.2"}, "--mean and --std: the given values"),
        ({"mean": "0.5", "std": "0"}, "--mean and --std: the given values"),
        ({"mean": "1e", "std": "0.2"}, "--mean and --std: the given values"),
        ({"mean": "123.7,116,103", "std": "58,57,57"}, "on a 0 to 255 scale"),
    ],
)
def test_invalid_statistics_are_refused(demo, tmp_path, given, message):
    with pytest.raises(InputError, match=message):
        convert_work.convert(str(demo), tmp_path / "out", **given)
    assert not (tmp_path / "out").exists()


def test_weights_of_unknown_activation_ask_for_it(goldens, tmp_path):
    hf = safetensors.numpy.load_file(goldens / "backbones" / "tiny_clip" / "model.safetensors")
    dialects.save(tmp_path / "ViT.safetensors", dialects.openai(hf))
    with pytest.raises(InputError, match=r"--activation quick_gelu .* or --activation gelu"):
        convert_work.convert(str(tmp_path / "ViT.safetensors"), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    for activation in ("gelu", "quick_gelu"):
        convert_work.convert(str(tmp_path / "ViT.safetensors"), tmp_path / activation, activation=activation)
        assert load_backbone(str(tmp_path / activation), "tiny_clip", 20).spec.activation == activation
    lines = convert_work.inspect(tmp_path / "ViT.safetensors")
    assert any("openai_clip: tiny_clip" in line for line in lines)
    assert any("its activation is unknown" in line for line in lines)


def test_inspect_describes_a_file(demo, tmp_path):
    result = run("--inspect", demo)
    assert (result.returncode, result.stderr) == (0, "")
    size = (demo / "model.safetensors").stat().st_size
    for text in (
        f"model.safetensors: {size:,} bytes",
        "container   safetensors",
        hashlib.sha256((demo / "model.safetensors").read_bytes()).hexdigest(),
        "79, 878,336 parameters",
        "F32 3,513,344 bytes",
        "hf_dinov2: demo",
        "embeddings.mask_token",
        "bicubic, native grid 8 x 8",
        "gelu (config.json)",
        "settings    config.json",
        "\nencoder.layer.{0..3}.attention.attention.query.weight  F32  [128, 128]\n",
    ):
        assert text in result.stdout
    assert run("--inspect", demo, "--all").stdout.count("attention.attention.query.weight  F32  [128, 128]\n") == 4


def inspect(path: Path) -> str:
    return "\n".join(convert_work.inspect(path))


def test_inspect_a_file_of_no_known_layout(tmp_path):
    safetensors.numpy.save_file({"bert.0.a": np.zeros((2, 3), np.int64)}, tmp_path / "a.safetensors")
    text = inspect(tmp_path / "a.safetensors")
    assert "none of its 1 tensor names is known" in text
    assert text.endswith("I64 48 bytes\n" + text[text.index("  dialect") :])
    assert text.endswith("\n\nbert.0.a  I64  [2, 3]")


def test_inspect_names_the_nearest_layout_and_the_difference(goldens, tmp_path):
    tensors = safetensors.numpy.load_file(goldens / "backbones" / "tiny_reg4" / "model.safetensors")
    del tensors["layernorm.bias"]
    safetensors.numpy.save_file(tensors, tmp_path / "a.safetensors")
    text = inspect(tmp_path / "a.safetensors")
    assert "the nearest is hf_dinov2 as tiny_reg4: missing (1): layernorm.bias\n" in text


def test_inspect_a_converted_folder(demo, tmp_path):
    convert_work.convert(str(demo), tmp_path / "out")
    text = inspect(tmp_path / "out")
    assert f"a converted folder of demo, from {demo}" in text
    assert "blocks/attn/qkv/kernel  F32  [4, 128, 384]" in text
    (tmp_path / "out" / "backbone.json").write_text("{}")
    assert "a converted folder, corrupted: " in inspect(tmp_path / "out")


@pytest.mark.parametrize(
    ("content", "container"),
    [
        (archives.archive(archives.state()), "PyTorch (a zip archive with a pickle, which is not executed)"),
        (
            archives.script(archives.program(archives.module(x=archives.tensor()))),
            "TorchScript archive (its code is not executed)",
        ),
    ],
)
def test_inspect_what_torch_saves(tmp_path, content, container):
    (tmp_path / "a.pt").write_bytes(content)
    text = inspect(tmp_path / "a.pt")
    assert f"  container   {container}\n" in text
    assert text.endswith("\n\nx  F32  [2, 3]")


def test_inspect_shards_as_one(goldens, tmp_path):
    tensors = safetensors.numpy.load_file(goldens / "backbones" / "tiny_reg4" / "model.safetensors")
    names, weight_map = sorted(tensors), {}
    for i, part in enumerate((names[:20], names[20:])):
        file = f"model-0000{i + 1}-of-00002.safetensors"
        safetensors.numpy.save_file({name: tensors[name] for name in part}, tmp_path / file)
        weight_map |= dict.fromkeys(part, file)
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    size = sum(file.stat().st_size for file in tmp_path.glob("*.safetensors"))
    text = inspect(tmp_path)
    files = "model-00001-of-00002.safetensors, model-00002-of-00002.safetensors"
    assert f"  files       {files}: {size:,} bytes\n" in text
    assert "hf_dinov2: tiny_reg4" in text
    assert inspect(tmp_path / "model.safetensors.index.json").split("\n")[1:] == text.split("\n")[1:]


def test_inspect_and_the_other_flags(demo, tmp_path):
    for arguments in ((demo,), (demo, "--inspect", "--out", tmp_path / "x"), (demo, "--out", tmp_path / "x", "--all")):
        result = run(*arguments)
        assert (result.returncode, result.stdout, len(result.stderr.splitlines())) == (2, "", 1)
    assert list(tmp_path.iterdir()) == []


class Hub(http.server.BaseHTTPRequestHandler):
    """As much of the hub as a snapshot needs: a revision's listing, and its files."""

    folder: Path
    asked: list[str]
    commit = "c" * 40

    def _answer(self, body: bytes, kind: str, **headers: str) -> None:
        self.send_response(200)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.path.startswith("/api/models/owner/demo/tree/"):
            self._answer(
                json.dumps(
                    [
                        {"type": "file", "path": p.name, "size": p.stat().st_size, "oid": f"{i:040x}"}
                        for i, p in enumerate(sorted(self.folder.iterdir()))
                    ]
                ).encode(),
                "application/json",
            )
        elif self.path.startswith("/api/models/owner/demo"):
            files = [{"rfilename": p.name} for p in self.folder.iterdir()]
            self._answer(
                json.dumps({"id": "owner/demo", "sha": self.commit, "siblings": files}).encode(), "application/json"
            )
        elif self.path.startswith("/owner/demo/resolve/"):
            data = (self.folder / self.path.split("?")[0].rsplit("/", 1)[1]).read_bytes()
            tag = hashlib.sha256(data).hexdigest()
            self._answer(data, "application/octet-stream", ETag=f'"{tag}"', X_Repo_Commit=self.commit)
        else:
            self.send_error(404)

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub_server(demo, tmp_path):
    demo = Path(shutil.copytree(demo, tmp_path / "demo"))
    (demo / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    (demo / "open_clip_model.safetensors").write_bytes(b"the same weights once more")
    handler = type("Handler", (Hub,), {"folder": demo, "asked": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", handler.asked, demo
    server.shutdown()
    server.server_close()


def test_a_hub_id_is_downloaded_without_its_pickles(hub_server, tmp_path):
    url, asked, demo = hub_server
    (demo / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.4] * 3, "image_std": [0.3] * 3}))
    hub_home = {"HF_ENDPOINT": url, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "0"}
    result = run("owner/demo", "--out", tmp_path / "out", **hub_home)
    assert (result.returncode, result.stderr) == (0, "")
    description = json.loads((tmp_path / "out" / "backbone.json").read_text())
    assert description["source"] == "owner/demo"
    assert description["image_statistics"] == {"mean": [0.4] * 3, "std": [0.3] * 3}
    assert any("model.safetensors" in path for path in asked)
    assert not any("pytorch_model.bin" in path or "open_clip_model" in path for path in asked)
    missing = run("owner/other", "--out", tmp_path / "other", **hub_home)
    assert missing.returncode == 2
    assert "neither a local path nor a public model" in missing.stderr or "cannot be reached" in missing.stderr
    assert len(missing.stderr.splitlines()) == 1


def test_a_revision_of_a_hub_id(hub_server, tmp_path):
    url, asked, _ = hub_server
    hub_home = {"HF_ENDPOINT": url, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "0"}
    result = run("owner/demo@v1.0", "--out", tmp_path / "out", **hub_home)
    assert (result.returncode, result.stderr) == (0, "")
    assert json.loads((tmp_path / "out" / "backbone.json").read_text())["source"] == "owner/demo@v1.0"
    assert any(path.startswith("/api/models/owner/demo/revision/v1.0") for path in asked)
    cached = tmp_path / "hf" / "hub" / "models--owner--demo"
    result = run("--inspect", cached, **hub_home | {"HF_HUB_OFFLINE": "1"})
    assert (result.returncode, result.stderr) == (0, "")
    assert "hf_dinov2: demo" in result.stdout


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("GatedRepo", "asks for consent; accept the terms at https://huggingface.co/owner/demo, log in"),
        ("RevisionNotFound", "has no revision v9; expected a branch, a tag or a commit of it"),
        ("RepoNotFound", "neither a local path nor a public model on the hub"),
    ],
)
def test_what_the_hub_refuses_says_what_to_do(code, says, tmp_path):
    def refuse(self) -> None:
        self.send_response(403 if code == "GatedRepo" else 404)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    handler = type("Refusing", (Hub,), {"do_GET": refuse, "do_HEAD": refuse})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    result = run("--inspect", "owner/demo@v9", HF_ENDPOINT=url, HF_HOME=str(tmp_path / "hf"), HF_HUB_OFFLINE="0")
    server.shutdown()
    server.server_close()
    assert result.returncode == 2 and says in result.stderr and len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("source", "parts"),
    [
        ("facebook/dinov2-small", ("facebook/dinov2-small", None)),
        ("facebook/dinov2-small@main", ("facebook/dinov2-small", "main")),
        ("hf-hub:timm/vit_small_patch14_dinov2.lvd142m", ("timm/vit_small_patch14_dinov2.lvd142m", None)),
        ("https://huggingface.co/laion/CLIP-ViT-B-32", ("laion/CLIP-ViT-B-32", None)),
        ("https://huggingface.co/laion/CLIP-ViT-B-32/tree/refs/pr/2", ("laion/CLIP-ViT-B-32", "refs/pr/2")),
        ("https://example.com/owner/name", None),
        ("weights/model.safetensors", None),
        ("https://huggingface.co/owner/name/", ("owner/name", None)),
        ("owner/name/", None),
        ("a/b/c", None),
        ("owner/name@", None),
        ("../name", None),
    ],
)
def test_the_forms_of_a_hub_id(source, parts):
    assert hub.parts_of(source) == parts


def test_several_snapshots_are_not_chosen_between(tmp_path):
    for name in ("refs", "snapshots/a", "snapshots/b"):
        (tmp_path / name).mkdir(parents=True)
    with pytest.raises(InputError, match="holds 2 snapshots of a model of the hub; name one"):
        hub.snapshot_in(tmp_path)
    (tmp_path / "refs" / "main").write_text("b\n")
    assert hub.snapshot_in(tmp_path) == tmp_path / "snapshots" / "b"


def test_open_clips_own_file_is_taken_where_there_is_no_other(hub_server, tmp_path):
    url, asked, demo = hub_server
    (demo / "model.safetensors").rename(demo / "open_clip_model.safetensors")
    result = run("--inspect", "owner/demo", HF_ENDPOINT=url, HF_HOME=str(tmp_path / "hf"), HF_HUB_OFFLINE="0")
    assert (result.returncode, result.stderr) == (0, "")
    assert "open_clip_model.safetensors: 3," in result.stdout
    assert not any("pytorch_model.bin" in path for path in asked)


def test_without_network_one_line_says_what_to_download(tmp_path):
    result = run("facebook/dinov2-small", "--out", tmp_path / "out", HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path))
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert (
        "download model.safetensors and config.json from https://huggingface.co/facebook/dinov2-small" in result.stderr
    )
    assert "adaptface convert ./FOLDER --out " in result.stderr
