"""`--format=base` and a backbone's source: any weights in the Hugging Face layout, without local paths."""

from __future__ import annotations

import functools
import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adaptface_jax.core import trees
from adaptface_jax.core.errors import InputError
from adaptface_jax.export import __main__ as export
from adaptface_jax.export.base import base_of_weights, write_base
from adaptface_jax.export.record import hub_id, loadable_id, source_name
from adaptface_jax.models.specs import BACKBONES
from adaptface_jax.weights.folder import write_folder
from adaptface_jax.weights.formats.reader import open_weights
from adaptface_jax.weights.loading import load_backbone, read_backbone
from tests import made_runs as finished
from tests import made_weights as dialects
from tests.made_weights import TINY
from tests.running import call


@pytest.fixture(autouse=True)
def tiny_rows(monkeypatch):
    for name, spec in TINY.items():
        monkeypatch.setitem(BACKBONES, name, spec)


@functools.cache
def published(row: str) -> dialects.Tensors:
    """A tiny model's tensors as transformers saves them."""
    with tempfile.TemporaryDirectory() as folder:
        finished.write_backbone(Path(folder), TINY[row])
        return dict(open_weights(Path(folder)))


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=st.sampled_from(dialects.CASES), converted=st.booleans(), grid=st.none() | st.integers(2, 7))
def test_whatever_names_and_size_weights_come_in_they_leave_as_hugging_face_has_them(
    case, converted, grid, tmp_path_factory
):
    """Exported at that size, they are read back as transformers' own, and equal a run's weights at that size."""
    (name, row), folder = case, tmp_path_factory.mktemp("case")
    dialects.save(folder / "model.safetensors", dialects.dialect(name).of(published(row)))
    if row == "tiny_clip":
        dialects.write_settings(folder, name, "quick_gelu")
    source = folder
    if converted:
        write_folder(read_backbone(str(folder))[0], folder / "converted")
        source = folder / "converted"
    size = None if grid is None else grid * TINY[row].patch_size
    base = base_of_weights(str(source), size)
    (folder / "base").mkdir()
    write_base(base, folder / "base")
    size, feature = base.tower.image_size, base.tower.feature
    again = load_backbone(str(folder / "base"), row, size, feature=feature)
    wanted = load_backbone(str(source), row, size, feature=feature)
    assert (size == TINY[row].native_size) == (grid in (None, 5))
    assert (again.spec.activation, again.spec.stats) == (wanted.spec.activation, wanted.spec.stats)
    for path, leaf in trees.flatten(wanted.params).items():
        np.testing.assert_array_equal(trees.flatten(again.params)[path], leaf, err_msg=path)
    for file in (folder / "base").glob("*.[jm][sd]*"):
        assert str(folder) not in file.read_text(), file.name


def test_the_base_of_a_run_is_its_backbone_before_the_adapter(workdirs, tmp_path, capsys):
    assert call(export, f"--run={workdirs / 'lora'}", "--format=base", f"--out={tmp_path / 'base'}") == 0
    assert "Dinov2Model at 28 px" in capsys.readouterr().out
    ours = load_backbone(str(tmp_path / "base"), "demo", 28).params
    run = load_backbone(str(workdirs / "hub"), "demo", 28).params
    for path, leaf in trees.flatten(run).items():
        np.testing.assert_array_equal(trees.flatten(ours)[path], leaf, err_msg=path)


def test_the_packaged_backbone_leaves_at_its_own_size(tmp_path, capsys):
    assert call(export, "--weights=builtin", "--format=base", f"--out={tmp_path / 'base'}") == 0
    assert "Dinov2Model at 112 px" in capsys.readouterr().out
    assert load_backbone(str(tmp_path / "base"), "demo", 112).spec == load_backbone("builtin", "demo", 112).spec
    assert "(builtin)" in (tmp_path / "base" / "README.md").read_text()


@pytest.mark.parametrize("with_base", [False, True])
def test_no_file_of_an_adapter_holds_a_path_and_the_rule_is_in_its_readme(with_base, workdirs, tmp_path, capsys):
    words = ["--with_base"] * with_base
    assert call(export, f"--run={workdirs / 'dalora'}", "--format=peft", *words, f"--out={tmp_path / 'out'}") == 0
    assert ("base: not written" in capsys.readouterr().out) != with_base
    files = [path for path in (tmp_path / "out").rglob("*") if path.suffix in (".json", ".md")]
    for path in files:
        assert str(workdirs) not in path.read_text() and str(tmp_path) not in path.read_text(), path
    settings_ = json.loads((tmp_path / "out" / "domain_0" / "adapter_config.json").read_text())
    assert settings_["base_model_name_or_path"] is None  # PEFT would look for any other name on the hub
    assert "from 112 px to 28 px by the rule `bicubic`" in (tmp_path / "out" / "README.md").read_text()
    assert (tmp_path / "out" / "base" / "config.json").is_file() == with_base


NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_]{0,8}", fullmatch=True)


@settings(max_examples=50)
@given(parts=st.lists(NAMES, min_size=1, max_size=4), root=st.sampled_from(["/", "~/", "./", "../", ""]))
def test_a_source_is_named_without_its_folders_unless_it_is_an_id(parts, root):
    source = root + "/".join(parts) + ("" if len(parts) == 2 and not root else ".pth")
    identity = {"source": source}
    if len(parts) == 2 and not root:
        assert hub_id(identity) == source_name(identity) == source
    else:
        assert hub_id(identity) is None and source_name(identity) == Path(source).name
    assert not source_name(identity).startswith(("/", "~", "."))


@pytest.mark.parametrize(
    ("source", "rule", "row", "loads"),
    [
        ("facebook/dinov2-small", "bicubic", "tiny_dinov2", True),
        ("facebook/dinov2-with-registers-small", "bicubic_antialias", "tiny_reg4", True),
        ("openai/clip-vit-base-patch16", "bicubic", "tiny_clip", True),
        ("laion/CLIP-ViT-B-32", "bicubic_antialias", "tiny_clip", False),  # open_clip's names
        ("timm/vit_small_patch14_dinov2.lvd142m", "bicubic_antialias", "tiny_dinov2", False),
        ("timm/vit_small_patch14_reg4_dinov2.lvd142m", "bicubic_antialias", "tiny_reg4", False),
        ("dinov2_vits14_pretrain.pth", "dinov2", "tiny_dinov2", False),
        ("builtin", "bicubic", "tiny_dinov2", False),
    ],
)
def test_only_what_transformers_loads_by_name_is_a_base_by_name(source, rule, row, loads):
    found = loadable_id({"source": source, "position_rule": rule}, TINY[row])
    assert found == (source if loads else None)


def test_a_size_that_patches_do_not_fill_is_refused():
    with pytest.raises(InputError, match=r"--image_size: 100 is not a multiple of demo's patch size 14"):
        base_of_weights("builtin", 100)
