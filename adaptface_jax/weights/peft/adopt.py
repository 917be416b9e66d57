"""A run that starts from a PEFT adapter with different ranks per layer adopts them, as patterns."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

from adaptface_jax.config.overrides import thawed
from adaptface_jax.config.schema import Config
from adaptface_jax.models.adapters import places
from adaptface_jax.models.adapters.fuse import Piece, fused_rank
from adaptface_jax.models.adapters.patterns import Value, to_pattern
from adaptface_jax.models.recognizer import built_spec
from adaptface_jax.models.settings import checked
from adaptface_jax.models.specs import backbone_spec
from adaptface_jax.weights.peft.files import read_adapter
from adaptface_jax.weights.peft.start import SHARED, adapter_folders, by_target, folder_of


def adopted(config: Config) -> Config:
    """`config` with the blocks, ranks and alphas of `adapter.init_from` if those differ between layers.

    Explicit settings of any of them take precedence. Several modules that share one fused layer get the sum of ranks
    that `fuse` gives; what the folder does not adapt gets `adapter.rank`. Raises InputError as `start_from` does.
    """
    wanted = config.adapter
    if not wanted.init_from or not places.is_uniform(wanted):
        return config
    spec = built_spec(backbone_spec(config.backbone.name), config.backbone.feature)
    folders = adapter_folders(folder_of(wanted.init_from), wanted)
    gated = [folder for folder in folders if len(folders) == 1 or folder.name != SHARED]
    # target -> block -> the pieces of each folder
    found: dict[str, dict[int, list[list[Piece]]]] = {}
    for folder in gated:
        for target, of_target in by_target(folder, wanted, read_adapter(folder, spec)).items():
            for block, pieces in of_target.items():
                found.setdefault(target, {}).setdefault(block, []).append(pieces)
    changes: dict[str, Any] = {}
    blocks = {block for of_target in found.values() for block in of_target}
    if len(blocks) < spec.depth:
        changes["blocks"] = tuple(sorted(blocks))
    ranks = _of_each(found, lambda _, __, folders: max(map(fused_rank, folders)))
    own = {piece.a.shape[1] for of in found.values() for folders in of.values() for each in folders for piece in each}
    if len(own) > 1:
        changes["rank_pattern"] = _pattern(ranks, wanted.rank)

    def alpha(target: str, block: int, folders: list[list[Piece]]) -> float:
        """The alpha that gives the place the folder's scale, without rounding residue."""
        rank = ranks[target][block] if len(own) > 1 else wanted.rank
        return float(f"{folders[0][0].scale * (math.sqrt(rank) if wanted.use_rslora else rank):.12g}")

    alphas = _of_each(found, alpha)
    if len({value for of_target in alphas.values() for value in of_target.values()}) > 1:
        changes["alpha_pattern"] = _pattern(alphas, wanted.alpha)
    if not changes:
        return config
    result = checked(thawed(dataclasses.replace(config, adapter=dataclasses.replace(wanted, **changes))))
    assert isinstance(result, Config)
    return result


def _of_each(
    found: Mapping[str, Mapping[int, list[list[Piece]]]], value: Callable[[str, int, list[list[Piece]]], Value]
) -> dict[str, dict[int, Value]]:
    return {
        target: {block: value(target, block, folders) for block, folders in of_target.items()}
        for target, of_target in found.items()
    }


def _pattern(values: Mapping[str, Mapping[int, Value]], default: Value) -> dict[str, Value]:
    return to_pattern({places.template(target): blocks for target, blocks in values.items()}, default)
