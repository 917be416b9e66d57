# SPDX-License-Identifier: Apache-2.0
"""Whether the settings of a model fit its backbone: image size, feature, adapted layers, router."""

from __future__ import annotations

import dataclasses

from ml_collections import ConfigDict

from adaptface_jax.config import overrides
from adaptface_jax.config.overrides import AnyConfig
from adaptface_jax.config.schema import Config
from adaptface_jax.core.errors import InputError
from adaptface_jax.models.adapters.places import check_places, router_block
from adaptface_jax.models.head import head_kind
from adaptface_jax.models.specs import backbone_spec, check_size

TARGETS = ("qkv", "q", "k", "v", "proj", "fc1", "fc2")


def checked(config: ConfigDict) -> AnyConfig:
    """The frozen settings, all checked; the image size and the kind of head are resolved if left to the backbone.

    Raises InputError naming the first wrong setting.
    """
    frozen = overrides.freeze(config)
    if not isinstance(frozen, Config):
        return frozen
    spec = backbone_spec(frozen.backbone.name)
    backbone = dataclasses.replace(frozen.backbone, image_size=frozen.backbone.image_size or spec.usual_size)
    head = dataclasses.replace(frozen.head, kind=head_kind(frozen.head.kind, spec))
    frozen = dataclasses.replace(frozen, backbone=backbone, head=head)
    check_model(frozen)
    return frozen


def check_model(config: Config) -> None:
    """Raise InputError, naming the setting, if a setting does not fit `backbone.name`."""
    spec = backbone_spec(config.backbone.name)
    adapter = config.adapter
    check_size("backbone.image_size", config.backbone.image_size, config.backbone.name, spec)
    if spec.width % config.train.fsdp:
        raise InputError(
            f"train.fsdp: {config.train.fsdp} does not divide the width {spec.width} of {config.backbone.name}, whose "
            "kernels it splits; choose a divisor of it"
        )
    if config.backbone.feature == "projected" and spec.projection is None:
        raise InputError(f"backbone.feature: {config.backbone.name} has no projection; use 'cls'")
    if adapter.kind in ("lora", "dalora"):
        _check_targets(adapter.targets)
        check_places(adapter, spec.depth)
    if adapter.kind == "dalora":
        depth = router_block(adapter.router)
        if depth is not None and not 0 <= depth < spec.depth:
            raise InputError(
                f"adapter.router: {adapter.router!r} is outside block:0 to block:{spec.depth - 1} "
                f"of {config.backbone.name}"
            )


def _check_targets(targets: tuple[str, ...]) -> None:
    known = ", ".join(TARGETS)
    if not targets:
        raise InputError(f"adapter.targets: empty; name at least one of {known}")
    if len(set(targets)) != len(targets):
        raise InputError(f"adapter.targets: {','.join(targets)} names a layer twice")
    unknown = sorted(set(targets) - set(TARGETS))
    if unknown:
        raise InputError(f"adapter.targets: {', '.join(unknown)} not known; expected some of {known}")
    if "qkv" in targets and set(targets) & {"q", "k", "v"}:
        raise InputError("adapter.targets: qkv is fused and cannot be combined with q, k or v; choose one form")
