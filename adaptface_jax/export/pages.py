"""The README.md of exported weights: how to run them with transformers and PEFT."""

from __future__ import annotations

from collections.abc import Sequence

from adaptface_jax.export.record import base_model, model_class
from adaptface_jax.training.recognition.model import Model

_EMBED = """with torch.no_grad():
    feature = {feature}
    embedding = {embedding}
embedding = torch.nn.functional.normalize(embedding)  # [B, {width}]; the product of two is the cosine of the faces"""

_FACES = """`image` is an RGB face of {0} x {0} pixels, cut and aligned as those of the training (or a list of them)."""


def merged_page(model: Model, mix: Sequence[float] | None) -> str:
    """README.md of a merged export."""
    settings = model.recognizer.config.backbone
    name = model_class(model.recognizer.spec, settings.feature)
    lost = "" if mix is None else f"\n{mixed_words(mix)}\n"
    head = '\nhead = load_file("head.safetensors")' if "head" in model.trainable else ""
    load = "\nfrom safetensors.torch import load_file" if head else ""
    return f"""# An adapted face recogniser as Hugging Face weights

{settings.name} ({model.identity["source"]}) with its adapter folded in, float32, positions at {settings.image_size} px.
{lost}
```python
import torch
import transformers{load}

backbone = transformers.{name}.from_pretrained(".").eval()
processor = transformers.AutoImageProcessor.from_pretrained("."){head}
pixels = processor(image, return_tensors="pt")["pixel_values"]
{_embed(model, "backbone(pixels)")}
```

{_FACES.format(model.stored_size)}
"""


def peft_page(model: Model, folders: Sequence[str], layout: str) -> str:
    """README.md of a PEFT export; folders: those of the adapters, "." for a single one."""
    recognizer = model.recognizer
    settings = recognizer.config.backbone
    name = model_class(recognizer.spec, settings.feature)
    load = '\nhead = load_file("head.safetensors")' if "head" in model.trainable else ""
    resized = ", interpolate_pos_encoding=True" if recognizer.spec.family == "clip" else ""
    experts = ""
    if len(folders) > 1:
        experts = f"""
One adapter for each expert: {", ".join(f"`{folder}`" for folder in folders)}. DA-LoRA weighs them for every image,
which PEFT has no form for: `router.safetensors` and `router.json` hold what computes the weights; `--format=merged`
exports a fixed mixture.
"""
    older = "before 5.18" if layout == "v4" else "5.18 or newer"
    version = f" (transformers {older})" if recognizer.spec.family == "dinov2" else ""
    return f"""# The adapter of a face recogniser, for PEFT

For {settings.name} ({model.identity["source"]}) at {settings.image_size} px, modules named as in `{layout}`{version}.
{experts}
```python
import peft
import torch
import transformers
from safetensors.torch import load_file

backbone = transformers.{name}.from_pretrained("{base_model(model)}")
model = peft.PeftModel.from_pretrained(backbone, "{folders[0]}").eval()
file, loaded = load_file("{folders[0]}/adapter_model.safetensors"), peft.get_peft_model_state_dict(model)
assert file.keys() == loaded.keys()  # PEFT may skip what does not fit
assert all(torch.equal(file[key], loaded[key]) for key in file){load}
{_embed(model, f"model(pixel_values=pixels{resized})")}
```

`pixels` are RGB / 255, bicubic at {settings.image_size} px, minus the mean {list(recognizer.spec.stats.mean)}, divided
by the standard deviation {list(recognizer.spec.stats.std)}. The base model is the same weights in the
Hugging Face layout.
"""


def mixed_words(mix: Sequence[float]) -> str:
    """What a fixed mixture of experts gives up."""
    weights = ", ".join(f"{weight:.4f}" for weight in mix)
    return (
        f"The experts are mixed as {weights} for every image alike. Lost: the gates that DA-LoRA chooses for each "
        "image; the embeddings differ from the run's own."
    )


def _embed(model: Model, call: str) -> str:
    projected = model.recognizer.config.backbone.feature == "projected"
    feature = f"{call}.{'image_embeds' if projected else 'pooler_output'}"
    embedding = 'torch.nn.functional.linear(feature, head["weight"], head["bias"])'
    return _EMBED.format(
        feature=feature,
        embedding=embedding if "head" in model.trainable else "feature",
        width=model.recognizer.embedding_dim,
    )
