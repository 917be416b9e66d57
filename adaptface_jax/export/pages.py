# SPDX-License-Identifier: Apache-2.0
"""The README.md of exported weights: how to run them with transformers and PEFT."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from adaptface_jax.export.example import normalized, script
from adaptface_jax.export.record import loadable_id, source_name
from adaptface_jax.export.tower import Tower, model_class
from adaptface_jax.models.specs import BackboneSpec
from adaptface_jax.training.recognition.model import Model
from adaptface_jax.weights.peft.start import HEAD

BASE = "base"  # the folder of a PEFT export's base model

_EMBED = """with torch.no_grad():
    feature = {feature}
    embedding = {embedding}
embedding = torch.nn.functional.normalize(embedding)  # [1, {width}]; the dot product of two is the cosine similarity
print(embedding)"""


def merged_page(model: Model, mix: Sequence[float] | None) -> str:
    """README.md of a merged export."""
    recognizer = model.recognizer
    settings = recognizer.config.backbone
    lost = "" if mix is None else f"\n{mixed_words(mix)}\n"
    return f"""# An adapted face recognizer as {_whose(recognizer.spec)} weights

{_backbone(model)} with its adapter folded in, float32.
{positions_words(recognizer.spec, settings.image_size, model.identity)}.
{lost}
{_tower_script(recognizer.spec, settings.feature, "head" in model.trainable, recognizer.embedding_dim)}
"""


def base_page(tower: Tower, identity: Mapping[str, Any]) -> str:
    """README.md of a backbone without an adapter."""
    width = tower.spec.projection if tower.feature == "projected" and tower.spec.projection else tower.spec.width
    return f"""# A backbone as {_whose(tower.spec)} weights

{identity["name"]} ({source_name(identity)}), without an adapter, float32.
{positions_words(tower.spec, tower.image_size, identity)}.

{_tower_script(tower.spec, tower.feature, False, width)}
"""


def peft_page(model: Model, folders: Sequence[str], layout: str, with_base: bool) -> str:
    """README.md of a PEFT export; folders: those of the adapters, "." for a single one."""
    recognizer = model.recognizer
    settings, spec = recognizer.config.backbone, recognizer.spec
    name, found = model_class(spec, settings.feature), None if with_base else loadable_id(model.identity, spec)
    experts = ""
    if len(folders) > 1:
        experts = f"""
One adapter for each expert: {", ".join(f"`{folder}`" for folder in folders)}. DA-LoRA weights them per image,
which PEFT cannot express: `router.safetensors` and `router.json` hold what computes the weights; `--format=merged`
exports a fixed mixture. The script runs one expert.
"""
    older = "before 5.18" if layout == "v4" else "5.18 or newer"
    version = f" (transformers {older})" if spec.family == "dinov2" else ""
    # The CLIP and SigLIP classes refuse sizes other than their own unless told.
    other_size = spec.family in ("clip", "siglip") and found is not None and settings.image_size != spec.native_size
    resized = ", interpolate_pos_encoding=True" if other_size else ""
    adapter = "folder" if folders[0] == "." else f'folder / "{folders[0]}"'
    head = f'\nhead = load_file(folder / "{HEAD}")' if "head" in model.trainable else ""
    base = f'folder / "{BASE}"' if found is None else f'"{found}"'
    code = f"""adapter = {adapter}
backbone = transformers.{name}.from_pretrained({base})
model = peft.PeftModel.from_pretrained(backbone, adapter).eval()
file, loaded = load_file(adapter / "adapter_model.safetensors"), peft.get_peft_model_state_dict(model)
assert file.keys() == loaded.keys()  # PEFT may skip what does not fit
assert all(torch.equal(file[key], loaded[key]) for key in file){head}
{normalized("pixels", settings.image_size, spec.stats)}
pixels = torch.from_numpy(pixels).permute(0, 3, 1, 2)
{_embed(settings.feature, bool(head), recognizer.embedding_dim, f"model(pixel_values=pixels{resized})")}"""
    imports = "import numpy as np", "import peft", "import torch", "import transformers"
    return f"""# The adapter of a face recognizer, for PEFT

For {_backbone(model)}, modules named as in `{layout}`{version}.
{experts}
{_base_words(model, found, with_base)}

{script((*imports, "from safetensors.torch import load_file"), code)}
"""


def mixed_words(mix: Sequence[float]) -> str:
    """What a fixed mixture of experts gives up."""
    weights = ", ".join(f"{weight:.4f}" for weight in mix)
    return (
        f"The experts are mixed as {weights} for all images. Lost: the gates that DA-LoRA computes for each "
        "image; the embeddings differ from the run's own."
    )


def _backbone(model: Model) -> str:
    settings = model.recognizer.config.backbone
    return f"{settings.name} ({source_name(model.identity)}) at {settings.image_size} px"


def _base_words(model: Model, found: str | None, with_base: bool) -> str:
    """Where the base model is from."""
    settings, name = model.recognizer.config.backbone, source_name(model.identity)
    positions = positions_words(model.recognizer.spec, settings.image_size, model.identity)
    if found is not None:
        return f"The base model is `{found}` on the hub. {positions}, which is how transformers resizes them."
    if with_base:
        return f"The base model is in `{BASE}`. {positions}, and {BASE} holds them at that size."
    return f"""The base model is {name} in the Hugging Face layout, to be put into `{BASE}` next to this file. One of
these writes it, from the run or from the weights that the run started from (sha256 {model.identity["sha256"]}):

    adaptface export --run=RUN --format=base --out={BASE}
    adaptface export --weights=WEIGHTS --image_size={settings.image_size} --format=base --out={BASE}

{positions}, and {BASE} then holds them at that size."""


def positions_words(spec: BackboneSpec, size: int, identity: Mapping[str, Any]) -> str:
    """The size of the positions, and how they got it."""
    if spec.rotary:
        return f"Positions: rotary, at {size} px as at any size"
    rule = identity["position_rule"]
    if size == spec.native_size:
        return f"Positions: those of the weights, at {size} px (their resizing rule: `{rule}`)"
    return f"Positions: from {spec.native_size} px to {size} px by the rule `{rule}`"


def _tower_script(spec: BackboneSpec, feature: str, head: bool, width: int) -> str:
    """A script that runs the weights in the README's folder."""
    if spec.family == "face":
        return _face_script(spec, head, width)
    imports = ["import torch", "import transformers", *["from safetensors.torch import load_file"] * head]
    code = f"""backbone = transformers.{model_class(spec, feature)}.from_pretrained(folder).eval()
processor = transformers.AutoImageProcessor.from_pretrained(folder)
pixels = processor(image, return_tensors="pt")["pixel_values"]
"""
    if head:
        code += f'head = load_file(folder / "{HEAD}")\n'
    return script(imports, code + _embed(feature, head, width, "backbone(pixels)"))


def _whose(spec: BackboneSpec) -> str:
    return "InsightFace" if spec.family == "face" else "Hugging Face"


def _face_script(spec: BackboneSpec, head: bool, width: int) -> str:
    """The same, in the code of InsightFace's `recognition/arcface_torch`."""
    sizes = f"img_size={spec.native_size}, patch_size={spec.patch_size}, num_classes={spec.embedding}"
    sizes += f", embed_dim={spec.width},\n    depth={spec.depth}, num_heads={spec.heads}"
    code = f"""backbone = VisionTransformer(
    {sizes}, mlp_ratio={spec.mlp_width / spec.width:g}, mask_ratio=0,
)
missing, unknown = backbone.load_state_dict(load_file(folder / "model.safetensors"), strict=False)
assert not unknown and all(name.endswith("num_batches_tracked") for name in missing)
backbone.eval()
{normalized("pixels", spec.native_size, spec.stats)}
pixels = torch.from_numpy(pixels).permute(0, 3, 1, 2)
"""
    if head:
        code += f'head = load_file(folder / "{HEAD}")\n'
    call = _embed("cls", head, width, "backbone(pixels)").replace(".pooler_output", "")
    imports = (
        "import numpy as np", "import torch", "from backbones.vit import VisionTransformer  # InsightFace's",
        "from safetensors.torch import load_file",
    )  # fmt: skip
    return script(imports, code + call)


def _embed(feature: str, head: bool, width: int, call: str) -> str:
    return _EMBED.format(
        feature=f"{call}.{'image_embeds' if feature == 'projected' else 'pooler_output'}",
        embedding='torch.nn.functional.linear(feature, head["weight"], head["bias"])' if head else "feature",
        width=width,
    )
