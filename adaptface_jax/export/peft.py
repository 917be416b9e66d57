# SPDX-License-Identifier: Apache-2.0
"""The adapter as PEFT folders, named for transformers 4 or 5; every value is kept bit for bit.

Format: PEFT 0.21, docs/source/developer_guides/checkpoint.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from adaptface_jax.config.schema import AdapterConfig
from adaptface_jax.core.errors import InputError
from adaptface_jax.core.files import write_text
from adaptface_jax.export.base import base_of_run
from adaptface_jax.export.pages import BASE, peft_page
from adaptface_jax.export.record import (
    head_lines,
    loadable_id,
    source_name,
    torch_linear,
    write_head,
    write_json,
    write_record,
)
from adaptface_jax.export.tower import write_tower
from adaptface_jax.models.adapters import lora, places
from adaptface_jax.models.adapters.patterns import to_pattern
from adaptface_jax.models.adapters.places import router_block
from adaptface_jax.models.adapters.router import DROPOUT, HIDDEN
from adaptface_jax.models.specs import BackboneSpec
from adaptface_jax.training.recognition.model import Model
from adaptface_jax.weights.formats.safetensors_files import write_file
from adaptface_jax.weights.peft.files import ADAPTER, CONFIG
from adaptface_jax.weights.peft.layouts import Layout
from adaptface_jax.weights.peft.names import (
    ROOT,
    modules,
    modules_of_target,
    namesakes,
    patch_module,
    patch_rows,
    tower_prefix,
)
from adaptface_jax.weights.peft.start import ROUTER, ROUTER_JSON, Expert, folders_of


def write_peft(model: Model, out: Path, *, layout: Layout, with_base: bool = False) -> list[str]:
    """Write the folder `out`; returns lines to print.

    LoRA: `adapter_config.json` and `adapter_model.safetensors`. DA-LoRA: a folder with these for each expert, and
    `router.safetensors` with `router.json`, which names the router's input. A trained patch embedding goes into
    `modules_to_save`, the head into `head.safetensors`. with_base: also the base model, in `base`, at the run's image
    size. Raises InputError if the run has no low-rank adapter.
    """
    recognizer, trainable = model.recognizer, jax.device_get(model.trainable)
    config, spec = recognizer.config, recognizer.spec
    if "adapter" not in trainable:
        raise InputError(
            f"--format=peft: the run has adapter.kind={config.adapter.kind}, and PEFT's format is low-rank adapters; "
            "use --format=merged"
        )
    if spec.family == "face":
        raise InputError(
            "--format=peft: PEFT puts adapters on classes of transformers, which has none for face ViTs; "
            "use --format=merged, onnx or stablehlo"
        )
    prefix = tower_prefix(spec, config.backbone.feature, layout)
    patch = patch_tensors(spec, trainable.get("backbone", {}).get("patch_embed"), prefix)
    folders = folders_of(config.adapter)
    base = loadable_id(model.identity, spec)
    count = 0
    for folder, expert in folders.items():
        tensors = {**low_rank_tensors(spec, trainable["adapter"], expert, layout, prefix), **patch}
        (out / folder).mkdir(exist_ok=True)
        write_file(out / folder / ADAPTER, tensors)
        write_json(out / folder / CONFIG, adapter_config(model, layout, expert.settings, base))
        count = len(tensors)
    if recognizer.num_domains:
        write_router(out, model)
    write_head(out, model)
    write_record(out, "peft", model, layout=layout)
    write_text(out / "README.md", peft_page(model, list(folders), layout, with_base))
    what = f"{len(folders)} adapters" if recognizer.num_domains else "1 adapter"
    saved = ", patch embedding in modules_to_save" if patch else ""
    line = f"peft: {what} of {count} tensors, modules named as in {layout}{saved}"
    if with_base:
        what = f"{BASE}: {write_tower(out / BASE, base_of_run(model).tower)}"
    elif base is not None:
        what = f"base: {base} on the hub"
    else:
        name = source_name(model.identity)
        what = f"base: not written, and transformers loads no {name} by name; --with_base writes it next to the adapter"
    return [line, *head_lines(model), what]


def low_rank_tensors(
    spec: BackboneSpec,
    factors: Mapping[str, Mapping[str, np.ndarray]],
    expert: Expert,
    layout: Layout,
    prefix: str,
) -> dict[str, np.ndarray]:
    """PEFT's tensors of an expert: A [r, in] and B [out, r] of every module; a fused layer's A is repeated.

    factors: the adapter tree, of all experts; r is each place's own rank.
    """
    tensors: dict[str, np.ndarray] = {}
    start = expert.columns.start
    for target, ranks in places.ranks(expert.settings, spec.depth).items():
        for module, index, parts in modules_of_target(spec, layout, target):
            for block in np.flatnonzero(ranks):
                own = slice(start, start + ranks[block])
                a, b = factors[target]["a"][block][:, own], factors[target]["b"][block][own]
                width = b.shape[1] // parts
                name = ROOT + prefix + module.name.replace("{i}", str(block))
                tensors[f"{name}.lora_A.weight"] = np.ascontiguousarray(a.T)
                tensors[f"{name}.lora_B.weight"] = np.ascontiguousarray(b[:, index * width : (index + 1) * width].T)
    return tensors


def patch_tensors(spec: BackboneSpec, patch_embed: Mapping[str, Any] | None, prefix: str) -> dict[str, np.ndarray]:
    """The trained patch embedding as PEFT's modules_to_save stores it; empty if it is not trained."""
    return {
        ROOT + prefix + row.name: np.ascontiguousarray(row.transform.outward(np.asarray(patch_embed[leaf])))
        for leaf, row in patch_rows(spec).items()
        if patch_embed is not None
    }


def adapter_config(model: Model, layout: Layout, expert: AdapterConfig, base: str | None) -> dict[str, Any]:
    """`adapter_config.json`, which PEFT's LoraConfig reads.

    expert: its settings as a plain LoRA. base: the base model's hub id, or None, since PEFT would look up any other
    name on the hub.
    """
    spec = model.recognizer.spec
    found = {target: modules_of_target(spec, layout, target) for target in expert.targets}
    targets = {module.name for of_target in found.values() for module, _, _ in of_target}
    ends = [module.name.partition("{i}.")[2] for module in modules(spec, layout) if module.name in targets]
    excluded = namesakes(spec, layout, ends)

    def pattern(of_places: Mapping[str, np.ndarray], default: float) -> dict[str, Any]:
        blocks = places.adapted_blocks(expert, spec.depth)
        return to_pattern(
            {
                module.name: {block: _plain(values[block]) for block in blocks}
                for target, values in of_places.items()
                for module, _, _ in found[target]
            },
            default,
        )

    return {
        "peft_type": "LORA",
        "task_type": None,
        "base_model_name_or_path": base,
        "inference_mode": True,
        "r": expert.rank,
        "lora_alpha": _plain(expert.alpha),
        "lora_dropout": expert.dropout,
        "use_rslora": expert.use_rslora,
        "use_dora": False,
        "bias": "none",
        "fan_in_fan_out": False,
        "target_modules": ends,
        **({"exclude_modules": excluded} if excluded else {}),
        **({"layers_to_transform": places.adapted_blocks(expert, spec.depth)} if expert.blocks else {}),
        "modules_to_save": [patch_module(spec)] if model.recognizer.config.backbone.train_patch_embed else None,
        "rank_pattern": pattern(places.ranks(expert, spec.depth), expert.rank),
        "alpha_pattern": pattern(places.alphas(expert, spec.depth), expert.alpha),
        "init_lora_weights": True,
    }


def _plain(value: float) -> float:
    """Whole numbers as int."""
    return int(value) if value == int(value) else float(value)


def write_router(out: Path, model: Model) -> None:
    """router.safetensors in torch's layout, and router.json: its input and how its weights are used."""
    router, recognizer = model.trainable["router"], model.recognizer
    adapter = recognizer.config.adapter
    looks_at = adapter.router
    block = router_block(looks_at)
    write_file(out / ROUTER, {**torch_linear(router["fc1"], "fc1."), **torch_linear(router["fc2"], "fc2.")})
    seen = "the feature of the backbone without adapters and with its original patch embedding"
    spread = adapter.router_input == "mean_std"
    deviation = "; then, for each channel, log(variance over all tokens + 1e-6) / 2" if spread else ""
    inner = f"the mean of all tokens after {block} blocks, minus its mean, divided by sqrt(variance + 1e-6){deviation}"
    uniform = f"blocks 0 to {(block or 1) - 1} weight every expert 1/{recognizer.num_domains}; the others by the gates"
    write_json(
        out / ROUTER_JSON,
        {
            "looks_at": looks_at,
            "input": seen if block is None else inner,
            **({"input_form": adapter.router_input} if spread else {}),
            "gates": "softmax(fc2(relu(fc1(input)))), one weight for each expert",
            "use": "every block weights the experts by the gates" if not block else uniform,
            **({"top1": "by 1 for the greatest gate and 0 for the others"} if adapter.gate == "top1" else {}),
            "num_domains": recognizer.num_domains,
            **({"shared": "the adapter `shared`, at weight 1 for every image"} if lora.shared(adapter) else {}),
            "input_dim": int(router["fc1"]["kernel"].shape[0]),
            "hidden": HIDDEN,
            "dropout_in_training": DROPOUT,
        },
    )
