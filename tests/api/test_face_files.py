# SPDX-License-Identifier: Apache-2.0
"""Embeddings as a file: what is in it, and what is refused before anything is computed."""

from __future__ import annotations

import os
import sys

import numpy as np
import pyarrow.parquet
import pytest
from PIL import Image

from adaptface_jax.api import face_files
from adaptface_jax.embed import __main__ as embed
from tests.running import call


def test_parquet_holds_what_npz_holds(run, folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(face_files, "GROUP", 16)
    words = [f"--run={run}", "--batch_size=8", f"--images={folder}"]
    assert call(embed, *words, f"--out={tmp_path / 'faces.npz'}") == 0
    assert call(embed, *words, f"--out={tmp_path / 'new' / 'faces.parquet'}") == 0
    assert "faces.parquet, 20 embeddings of 16 dimensions" in capsys.readouterr().out
    with np.load(tmp_path / "faces.npz") as written:
        arrays = dict(written)
    file = pyarrow.parquet.ParquetFile(tmp_path / "new" / "faces.parquet")
    assert [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)] == [16, 4]
    table = file.read()
    assert table.column_names == ["path", "embedding", "feature", "gates"]
    assert table["path"].to_pylist() == arrays["paths"].tolist()
    for column, name in (("embedding", "embeddings"), ("feature", "features"), ("gates", "gates")):
        assert str(table[column].type) == "list<element: float>"
        np.testing.assert_array_equal(np.array(table[column].to_pylist(), np.float32), arrays[name])


def test_a_backbone_has_no_gates(folder, tmp_path):
    out = tmp_path / "faces.parquet"
    words = ["--backbone=builtin", "--image_size=28", "--batch_size=16", f"--images={folder}"]
    assert call(embed, *words, f"--out={out}") == 0
    assert pyarrow.parquet.read_table(out).column_names == ["path", "embedding", "feature"]


@pytest.mark.parametrize(
    ("name", "said"), [("faces.csv", "ends in neither .npz nor .parquet"), ("folder.npz", "is a folder")]
)
def test_a_file_that_cannot_be_written_is_refused_at_once(folder, tmp_path, capsys, name, said):
    (tmp_path / "folder.npz").mkdir()
    # A model that cannot be opened: the file is checked first.
    assert call(embed, "--run=absent", f"--images={folder}", f"--out={tmp_path / name}") == 2
    error = capsys.readouterr().err
    assert said in error and len(error.splitlines()) == 1


def test_without_pyarrow_there_is_no_parquet(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    assert call(embed, "--run=absent", f"--images={folder}", f"--out={tmp_path / 'faces.parquet'}") == 2
    assert "install it with: pip install pyarrow" in capsys.readouterr().err


def test_a_name_that_is_not_text_is_refused_for_parquet(tmp_path, capsys):
    Image.new("RGB", (112, 112)).save(os.fsencode(tmp_path) + b"/caf\xe9.png")
    words = ["--backbone=builtin", "--image_size=28", "--batch_size=8", f"--images={tmp_path}"]
    assert call(embed, *words, f"--out={tmp_path / 'faces.parquet'}") == 2
    assert r"caf\udce9.png: this name is not UTF-8" in capsys.readouterr().err
    assert call(embed, *words, f"--out={tmp_path / 'faces.npz'}") == 0
    with np.load(tmp_path / "faces.npz") as written:
        assert written["paths"].tolist() == ["caf\udce9.png"]


@pytest.mark.parametrize("ending", ["npz", "parquet"])
def test_only_bad_images_leave_no_file(folder, tmp_path, capsys, ending):
    images = tmp_path / "images"
    images.mkdir()
    for number in range(9):
        (images / f"{number}.png").write_bytes(b"nothing")
    words = ["--backbone=builtin", "--image_size=28", "--batch_size=8", f"--images={images}"]
    assert call(embed, *words, f"--out={tmp_path / 'out' / f'faces.{ending}'}") == 2
    assert "none of 9 images can be read; the first: " in capsys.readouterr().err
    assert list((tmp_path / "out").iterdir()) == []
