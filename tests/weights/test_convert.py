"""`tools/convert_weights.py` as it is typed: what it prints, its exit status, and the hub at both ends of a wire."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from adaptface_jax.errors import InputError
from adaptface_jax.specs import BACKBONES
from adaptface_jax.weights import engine, hub
from adaptface_jax.weights.tables import TABLES

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "tools" / "convert_weights.py", *map(str, arguments)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Path:
    """A made demo backbone in the Hugging Face layout."""
    folder = tmp_path_factory.mktemp("demo")
    rng = np.random.default_rng(0)
    shapes = engine.file_shapes(TABLES[0], BACKBONES["demo"]).items()
    tensors = {name: rng.standard_normal(shape, dtype=np.float32) for name, shape in shapes}
    safetensors.numpy.save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"num_attention_heads": 4, "layer_norm_eps": 1e-6}))
    return folder


def test_a_local_folder_is_converted_and_described(demo, tmp_path):
    result = run(demo, "--out", tmp_path / "out")
    assert (result.returncode, result.stderr) == (0, "")
    sha256 = hashlib.sha256((demo / "model.safetensors").read_bytes()).hexdigest()
    tensors = len(engine.file_shapes(TABLES[0], BACKBONES["demo"]))
    for text in ("demo from ", f"{tensors} read", sha256, "bicubic, native grid 8 x 8", "gelu"):
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
def test_what_looks_like_a_path_is_never_asked_of_the_hub(source, monkeypatch, tmp_path):
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


class Hub(http.server.BaseHTTPRequestHandler):
    """As much of the hub as a snapshot needs: what a revision holds, and its files."""

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
def hub_server(demo):
    (demo / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    handler = type("Handler", (Hub,), {"folder": demo, "asked": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", handler.asked
    server.shutdown()
    server.server_close()


def test_a_hub_id_is_downloaded_without_its_pickles(hub_server, tmp_path):
    url, asked = hub_server
    hub_home = {"HF_ENDPOINT": url, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "0"}
    result = run("owner/demo", "--out", tmp_path / "out", **hub_home)
    assert (result.returncode, result.stderr) == (0, "")
    assert json.loads((tmp_path / "out" / "backbone.json").read_text())["source"] == "owner/demo"
    assert any("model.safetensors" in path for path in asked)
    assert not any("pytorch_model.bin" in path for path in asked)
    missing = run("owner/other", "--out", tmp_path / "other", **hub_home)
    assert missing.returncode == 2
    assert "neither a local path nor a public model" in missing.stderr or "cannot be reached" in missing.stderr
    assert len(missing.stderr.splitlines()) == 1


def test_without_network_one_line_says_what_to_download(tmp_path):
    result = run("facebook/dinov2-small", "--out", tmp_path / "out", HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path))
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert (
        "download model.safetensors and config.json from https://huggingface.co/facebook/dinov2-small" in result.stderr
    )
    assert "python tools/convert_weights.py ./FOLDER --out " in result.stderr
