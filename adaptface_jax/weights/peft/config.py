# SPDX-License-Identifier: Apache-2.0
"""`adapter_config.json` of PEFT: its content, and which of its settings are supported.

Format: PEFT 0.21, `LoraConfig`. An unknown setting must be off: a newer one may change the meaning of the tensors.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.json_io import read_json
from adaptface_jax.core.text import quoted
from adaptface_jax.models.adapters.patterns import MAX_PATTERNS, are_few, by_pattern, is_quick

# Settings that do not change the meaning of the tensors.
_HARMLESS = {
    "ensure_weight_tying",
    "eva_config",  # how A was initialized: the ranks that it chose are in rank_pattern
    "inference_mode",
    "lora_dropout",
    "megatron_core",
    "peft_version",
    "qalora_group_size",
    "revision",
    "runtime_config",
    "task_type",
    *("unsloth_fixed", "lora_dtype", "lorap_lr_ratio", "lorap_emb_lr"),  # of Unsloth and ms-swift: training alone
}
_READ = {
    "alpha_pattern",
    "auto_mapping",
    "base_model_name_or_path",
    "bias",
    "exclude_modules",
    "init_lora_weights",
    "layers_pattern",
    "layers_to_transform",
    "lora_alpha",
    "modules_to_save",
    "peft_type",
    "r",
    "rank_pattern",
    "target_modules",
    "use_dora",
    "use_rslora",
}
# Initializations that leave the base model unchanged; PiSSA, OLoRA and the like change it.
_STARTS = (True, False, None, "gaussian", "eva", "orthogonal")
# Of those that change it, PEFT cannot repeat these when it loads the adapter, and so cannot merge it.
_UNREPEATABLE = ("corda", "lora_ga")
# Kinds that change no weights: there is nothing to merge.
_UNMERGEABLE = (
    *("PROMPT_TUNING", "PREFIX_TUNING", "P_TUNING", "MULTITASK_PROMPT_TUNING", "ADAPTION_PROMPT", "CPT", "POLY"),
    "XLORA",
)
# The names of the numbered blocks.
_BLOCKS = ("layer", "layers", "encoder.layer", "encoder.layers", "blocks", "resblocks", "transformer.resblocks")
MAX_RANK = 1 << 14


@dataclasses.dataclass(frozen=True)
class PeftConfig:
    """targets: suffixes of the names of all adapted modules, None if a pattern or the initialization selected them.

    saved: suffixes of the names of fully trained modules. blocks: the adapted ones, or None for all. base: the name of
    the base model, or "". merging: how to get weights that include the adapter, to be displayed.
    """

    rank: int
    alpha: float
    use_rslora: bool
    ranks: Mapping[str, int]
    alphas: Mapping[str, float]
    targets: tuple[str, ...] | None
    saved: tuple[str, ...]
    blocks: frozenset[int] | None
    base: str
    merging: str

    def must_adapt(self, name: str, block: int) -> bool:
        """Whether the module `name` is a target according to the list, if any."""
        listed = any(name == target or name.endswith(f".{target}") for target in self.targets or ())
        return listed and (self.blocks is None or block in self.blocks)

    def saves(self, name: str) -> bool:
        """Whether the module `name` is fully trained."""
        return any(name.endswith(end) for end in self.saved)

    def rank_of(self, name: str) -> int:
        """r of the module `name`."""
        return int(by_pattern(self.ranks, name, self.rank))

    def scale_of(self, name: str) -> float:
        """The factor on B A x: alpha / r, or alpha / sqrt(r) with rsLoRA."""
        rank, alpha = self.rank_of(name), by_pattern(self.alphas, name, self.alpha)
        return float(alpha / (math.sqrt(rank) if self.use_rslora else rank))


def read_config(path: Path) -> PeftConfig:
    """Raises InputError, one line, for anything but a plain LoRA with only known settings."""
    given = read_json(path)

    def refuse(key: str, expected: str) -> InputError:
        return InputError(f"{path}: {key} is {quoted(given.get(key))}; expected {expected}")

    kind, merging = given.get("peft_type"), _merging(path.parent, given)
    if kind != "LORA":
        advice = f"; {merging}" if isinstance(kind, str) and kind not in _UNMERGEABLE else ""
        raise refuse("peft_type", f"LORA: other kinds of adapters are not supported{advice}")
    start = given.get("init_lora_weights", True)
    if start in _UNREPEATABLE:
        raise refuse(
            "init_lora_weights",
            "plain LoRA on the unchanged base model; where it was trained, save it with "
            "path_initial_model_for_weight_conversion",
        )
    for key, plain in (("init_lora_weights", _STARTS), ("use_dora", (False, None))):
        if given.get(key, plain[0]) not in plain:
            raise refuse(key, f"plain LoRA on the unchanged base model; {merging}")
    for key, value in given.items():
        if key not in _HARMLESS | _READ and value not in (None, False, "", 0) and value != {} and value != []:
            raise refuse(key, f"it to be off: only plain LoRA is supported; {merging}")
    if given.get("bias", "none") != "none":
        raise refuse("bias", f"'none': trained biases are not supported; {merging}")
    if not _is_flag(given.get("use_rslora", False)):
        raise refuse("use_rslora", "true or false")
    blocks = given.get("layers_to_transform")
    if blocks is not None and not _whole(blocks) and not (isinstance(blocks, list) and all(map(_whole, blocks))):
        raise refuse("layers_to_transform", "block numbers or null")
    if _whole(blocks):
        blocks = [blocks]
    targets = given.get("target_modules")
    if targets is not None and not isinstance(targets, str) and not _names(targets):
        raise refuse("target_modules", "a list of module names, or a pattern")
    numbered = given.get("layers_pattern") or _BLOCKS[0]
    chosen = (
        isinstance(targets, str)
        or given.get("exclude_modules")
        or start == "eva"
        or numbered not in (*_BLOCKS, *([name] for name in _BLOCKS))
    )
    saved = given.get("modules_to_save") or []
    if not _names(saved):
        raise refuse("modules_to_save", "a list of module names or null")
    for key, valid, expected in (
        ("r", _rank, f"an integer from 1 to {MAX_RANK}"),
        ("lora_alpha", _positive, "a positive number"),
    ):
        if not valid(given.get(key)):
            raise refuse(key, expected)
    return PeftConfig(
        rank=given["r"],
        alpha=float(given["lora_alpha"]),
        use_rslora=bool(given.get("use_rslora", False)),
        ranks=_pattern(path, given, "rank_pattern", _rank),
        alphas=_pattern(path, given, "alpha_pattern", _positive),
        targets=None if chosen or not targets else tuple(targets),
        saved=tuple(saved),
        blocks=frozenset(blocks) if blocks else None,
        base=base if isinstance(base := given.get("base_model_name_or_path"), str) else "",
        merging=merging,
    )


def _pattern(path: Path, given: Mapping[str, Any], key: str, valid: Callable[[Any], bool]) -> dict[str, Any]:
    value = given.get(key) or {}
    if not isinstance(value, dict):
        raise InputError(f"{path}: {key} is {quoted(value)}; expected an object of module names and numbers")
    if not are_few(value):
        raise InputError(f"{path}: {key} has more than {MAX_PATTERNS} patterns; name the modules instead")
    for name, number in value.items():
        if not is_quick(name) or not valid(number):
            raise InputError(
                f"{path}: {key} has {quoted(name)}: {quoted(number)}; expected a module's name, or a plain pattern of "
                "names, and a valid number"
            )
    return value


def _merging(folder: Path, given: Mapping[str, Any]) -> str:
    """How to get weights that include an adapter of another kind: PEFT merges it into its base."""
    mapping = given.get("auto_mapping")
    mapping = mapping if isinstance(mapping, dict) else {}
    library = mapping.get("parent_library")
    if isinstance(library, str) and library.partition(".")[0] != "transformers":
        return (
            "merge it into its base with PEFT (merge_and_unload), save the state dict of the result, and adapt that: "
            "adaptface convert merged.pth --out weights/merged"
        )
    kind = mapping.get("base_model_class")
    classifies = given.get("modules_to_save") in (["classifier"], ["classifier", "score"])
    usual = "AutoModelForImageClassification" if classifies else "AutoModel"
    kind = kind if isinstance(kind, str) and kind.isidentifier() else usual
    base = given.get("base_model_name_or_path")
    base = base if isinstance(base, str) and re.fullmatch(r"[A-Za-z0-9_./-]{1,200}", base) else "BASE"
    return (
        'merge it into its base with PEFT and adapt the result: python -c "import transformers, peft; '
        f"peft.PeftModel.from_pretrained(transformers.{kind}.from_pretrained('{base}'), '{folder}')"
        ".merge_and_unload().save_pretrained('merged')\" && adaptface convert merged --out weights/merged"
    )


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _rank(value: Any) -> bool:
    return _whole(value) and 1 <= value <= MAX_RANK


def _positive(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and 0 < value < 1e9


def _names(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= 10_000 and all(isinstance(name, str) and name for name in value)
