"""A folder is trusted only if every file is unchanged."""

from __future__ import annotations

import json

import pytest

from adaptface_jax.core import manifest
from adaptface_jax.core.manifest import Damaged, change_facts, read_manifest, verify, write_manifest


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "step" / "d").mkdir(parents=True)
    (tmp_path / "step" / "a.bin").write_bytes(bytes(range(256)) * 40)
    (tmp_path / "step" / "d" / "b.bin").write_bytes(b"\0" * 5000)
    write_manifest(tmp_path / "step", {"step": 7, "accuracy": None})
    return tmp_path / "step"


def test_a_complete_folder_is_trusted_and_its_facts_may_grow(folder):
    assert verify(folder).facts == {"step": 7, "accuracy": None}
    change_facts(folder, accuracy=0.5)
    assert verify(folder).facts == {"step": 7, "accuracy": 0.5}
    assert set(verify(folder).files) == {"a.bin", "d/b.bin"}


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def edit(folder, **changes):
    path = folder / manifest.NAME
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


DAMAGE = {
    "flipped bit": (lambda f: flip(f / "a.bin"), "content of a.bin has changed"),
    "zeroed block": (lambda f: (f / "a.bin").write_bytes(bytes(10240)), "content of a.bin has changed"),
    "truncated": (lambda f: (f / "a.bin").write_bytes(b"ab"), "a.bin has 2 bytes, not 10,240"),
    "emptied": (lambda f: (f / "d" / "b.bin").write_bytes(b""), "d/b.bin has 0 bytes"),
    "missing": (lambda f: (f / "d" / "b.bin").unlink(), "d/b.bin is missing"),
    "added": (lambda f: (f / "c.bin").write_bytes(b""), "c.bin did not exist"),
    "no manifest": (lambda f: (f / manifest.NAME).unlink(), "never finished"),
    "empty manifest": (lambda f: (f / manifest.NAME).write_text(""), "manifest.json is corrupted"),
    "manifest of another kind": (lambda f: (f / manifest.NAME).write_text("[1]"), "manifest.json is corrupted"),
    "flipped manifest": (lambda f: flip(f / manifest.NAME), "manifest.json is corrupted"),
    "better accuracy written in": (lambda f: edit(f, facts={"step": 7, "accuracy": 1}), "manifest.json is corrupted"),
    "bad file entry": (lambda f: edit(f, files={"a.bin": 3}), "manifest.json is corrupted"),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGE.values(), ids=DAMAGE)
def test_corruption_is_named(folder, damage, message):
    damage(folder)
    with pytest.raises(Damaged, match=message):
        verify(folder)


def test_a_manifest_is_read_without_the_files(folder):
    (folder / "a.bin").unlink()
    assert read_manifest(folder).facts["step"] == 7
