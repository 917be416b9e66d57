# SPDX-License-Identifier: Apache-2.0
"""Config files: packaged recipes, a user's own, inheritance and error messages."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from adaptface_jax.config import defaults, inherit, overrides, recipes
from adaptface_jax.core.errors import InputError
from adaptface_jax.models.settings import checked
from tests.children import one_device

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def write(path: Path, body: str, imports: str = "from adaptface_jax.config import defaults, inherit") -> Path:
    """A config file whose get_config() is `body`, with `c` for the settings."""
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    path.write_text(f"{imports}\n\ndef get_config():\n{lines}    return c\n")
    return path


def refused(source: str | Path) -> str:
    """The error of loading it."""
    with pytest.raises(InputError) as caught:
        recipes.load(source)
    message = str(caught.value)
    assert message.startswith("--config: ") and "\n" not in message
    return message


def test_the_recipes_are_the_files_of_configs():
    assert recipes.names() == sorted(file.stem for file in CONFIGS.glob("*.py")) != []


@pytest.mark.parametrize("name", recipes.names())
def test_every_recipe_is_valid_and_documents_its_command(name):
    checked(recipes.load(name))
    text = (CONFIGS / f"{name}.py").read_text()
    assert f"--config={name} " in text and ("Expect" in text or "Published" in text)


def test_a_recipe_by_its_name_is_the_file():
    assert recipes.load("dalora") == recipes.load(str(CONFIGS / "dalora.py")) != recipes.load("lora")


def test_a_file_is_named_by_its_path(tmp_path, monkeypatch):
    write(tmp_path / "mine.py", "c = defaults()\nc.seed = 7")
    monkeypatch.chdir(tmp_path)
    for source in ("mine.py", "./mine.py", tmp_path / "mine.py", str(tmp_path / "mine.py")):
        assert recipes.load(source).seed == 7


def test_a_recipe_comes_before_a_folder_or_file_that_cannot_be_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo").mkdir()
    (tmp_path / "lora").write_text("a note")
    assert recipes.load("demo").backbone.name == "demo"
    assert recipes.load("lora").adapter.kind == "lora"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("dalroa", ["'dalroa'", "did you mean dalora", "dalroa.py"]),
        ("experiment7", ["'experiment7'", "clip_dalora", "small_faces", "experiment7.py"]),
        ("", ["''", "demo"]),
        ("absent.py", ["absent.py", "clip_dalora", "small_faces"]),
        ("folder/absent", ["folder/absent", "small_faces"]),
        ("elsewhere/dalora.py", ["no file at elsewhere/dalora.py", "is called dalora"]),
        (".", ["no recipe is called '.'"]),
        ("..", ["no recipe is called '..'"]),
    ],
)
def test_an_unknown_name_or_path(source, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    message = refused(source)
    assert all(word in message for word in words), message


def test_a_child_of_a_recipe_lists_only_its_differences(tmp_path):
    config = recipes.load(write(tmp_path / "mine.py", 'c = inherit("small_faces")\nc.adapter.rank = 4'))
    parent = recipes.load("small_faces")
    assert config.adapter.rank == 4 != parent.adapter.rank
    parent.adapter.rank = 4
    assert config == parent


def test_a_child_of_a_neighbor_lists_only_its_differences(tmp_path):
    (tmp_path / "deeper").mkdir()
    write(tmp_path / "base.py", "c = defaults()\nc.adapter.rank = 4")
    write(tmp_path / "child.py", 'c = inherit(__file__, "base.py")\nc.adapter.alpha = 2')
    write(tmp_path / "deeper" / "grandchild.py", 'c = inherit(__file__, "../child.py")\nc.seed = 3')
    config = overrides.freeze(recipes.load(tmp_path / "deeper" / "grandchild.py"))
    assert (config.adapter.rank, config.adapter.alpha, config.seed) == (4, 2.0, 3)


def test_a_neighbor_called_like_a_recipe_may_inherit_from_it(tmp_path, monkeypatch):
    write(tmp_path / "demo.py", 'c = inherit("demo")\nc.seed = 9')
    monkeypatch.chdir(tmp_path)
    assert recipes.load("demo.py").seed == 9
    assert recipes.load("demo").seed == 0


def test_inherited_settings_are_a_copy():
    inherit("demo").adapter.rank = 1
    assert inherit("demo").adapter.rank == defaults().adapter.rank


def test_circular_inheritance_is_named(tmp_path):
    write(tmp_path / "a.py", 'c = inherit(__file__, "b.py")')
    write(tmp_path / "b.py", 'c = inherit(__file__, "a.py")')
    assert "a.py inherits from itself, through a.py -> b.py" in refused(tmp_path / "a.py")
    write(tmp_path / "a.py", "c = defaults()")
    assert recipes.load(tmp_path / "b.py") == defaults()


def test_a_config_file_cannot_invent_a_setting(tmp_path):
    assert "ranks" in refused(write(tmp_path / "mine.py", "c = defaults()\nc.adapter.ranks = 3"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def get_config(:", "SyntaxError"),
        ("x = 1", "get_config"),
        ("def get_config(): return 3", "int"),
        ("import nowhere_to_be_found", "nowhere_to_be_found"),
        ("def get_config(): raise KeyError", "KeyError"),
    ],
)
def test_a_broken_config_file_gives_one_line(tmp_path, text, words):
    (tmp_path / "mine.py").write_text(text)
    message = refused(tmp_path / "mine.py")
    assert words in message and "mine.py" in message and "adaptface_jax.config" not in message


@pytest.mark.parametrize("parent", ['__file__, "gone.py"', '"dalroa"', '__file__, "broken.py"'])
def test_what_is_wrong_with_a_parent_names_the_child_too(tmp_path, parent):
    (tmp_path / "broken.py").write_text("def get_config(:")
    message = refused(write(tmp_path / "mine.py", f"c = inherit({parent})"))
    assert "mine.py: " in message
    assert any(words in message for words in ("no file at", "did you mean dalora", "broken.py: SyntaxError")), message


@pytest.mark.parametrize(
    "imports",
    [
        "from adaptface_jax.overrides import inherit",
        "from adaptface_jax.config.overrides import inherit",
        "from adaptface_jax.config import default",
        "import adaptface_jax.overrides",
    ],
)
def test_an_old_config_file_is_told_what_to_write(tmp_path, imports):
    message = refused(write(tmp_path / "mine.py", 'c = inherit("demo")', imports))
    assert message.endswith("write: from adaptface_jax.config import defaults, inherit")


def test_a_config_file_needs_neither_jax_nor_numpy():
    code = "import adaptface_jax.config, sys; print(sorted({'jax', 'jaxlib', 'numpy', 'flax'} & set(sys.modules)))"
    environment = one_device() | {"PYTHONPATH": os.pathsep.join(sys.path)}
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert found.stdout == "[]\n"
