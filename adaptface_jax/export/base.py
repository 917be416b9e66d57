"""`--format=base`: a backbone without any adapter, for transformers, and for PEFT to add an adapter to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from adaptface_jax.core.files import write_text
from adaptface_jax.export.pages import base_page
from adaptface_jax.export.record import write_facts
from adaptface_jax.export.tower import Tower, write_tower
from adaptface_jax.models.positions import placed
from adaptface_jax.models.specs import check_size
from adaptface_jax.training.recognition.model import Model, load
from adaptface_jax.weights.loading import read_backbone


class Base(NamedTuple):
    """An unadapted backbone, its identity (`weights.folder.Weights.identity`), and what was assumed when reading it."""

    tower: Tower
    identity: Mapping[str, Any]
    remarks: tuple[str, ...] = ()


def base_of_run(model: Model) -> Base:
    """The backbone that a run started from, at the run's image size and by its rule for resizing positions."""
    recognizer = model.recognizer
    # Full fine-tuning holds no frozen tree.
    params = model.frozen.get("backbone") or load(recognizer.config)[1].params
    settings = recognizer.config.backbone
    return Base(Tower(recognizer.spec, params, settings.image_size, settings.feature), model.identity)


def base_of_weights(weights: str, image_size: int | None = None) -> Base:
    """Any backbone that `backbone.weights` may name, at its own size, or with its positions resized to `image_size`.

    Raises InputError if it is not one, and for a size that is not a multiple of the patch size.
    """
    found, remarks = read_backbone(weights)
    size = found.spec.native_size if image_size is None else image_size
    check_size("--image_size", size, found.name, found.spec)
    tree = placed(found.tree, found.spec, size, found.position_rule)
    feature = "projected" if "projection" in found.tree else "cls"
    return Base(Tower(found.spec, tree, size, feature), found.identity(), remarks)


def write_base(base: Base, out: Path) -> list[str]:
    """Write the folder `out`: the weights as `write_tower` does, README.md, export.json; returns lines to print."""
    tower = base.tower
    line = write_tower(out, tower)
    write_facts(out, "base", base.identity, image_size=tower.image_size, feature=tower.feature)
    write_text(out / "README.md", base_page(tower, base.identity))
    return [f"base: {line}", *base.remarks]
