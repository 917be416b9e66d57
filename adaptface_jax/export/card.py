"""The model card: the metadata the hub reads at the top of README.md, and the metrics below it.

Format: huggingface_hub, `ModelCardData` and `EvalResult` (the hub's model-index).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from adaptface_jax.core.files import write_text
from adaptface_jax.evaluation.markdown_tables import percent, table
from adaptface_jax.export.metrics import Metrics
from adaptface_jax.models.specs import BACKBONES

CARD = "README.md"
# Export format -> the library that the hub counts its downloads under.
LIBRARIES = {"merged": "transformers", "base": "transformers", "peft": "peft", "stablehlo": "jax", "onnx": "onnx"}
FACES = ("face-recognition", "face-verification", "biometrics")


def write_card(
    out: Path, form: str, *, backbone: str, adapter: str | None, base_model: str | None, metrics: Mapping[str, Metrics]
) -> None:
    """Complete the README.md of the export in `out`.

    backbone: its name here. adapter: `adapter.kind` of the run, or None. base_model: a hub id.
    """
    from huggingface_hub import EvalResult, ModelCardData  # other commands need not wait half a second for it

    results = [
        EvalResult(
            task_type="image-feature-extraction",
            task_name="Face verification",
            dataset_type=name,
            dataset_name=name,
            metric_type=kind,
            metric_name=title,
            metric_value=round(value, 6),
        )
        for name, entry in metrics.items()
        for kind, title, value in (("accuracy", "Accuracy", entry.accuracy), ("roc_auc", "AUC", entry.auc))
    ]
    tags = [*FACES, BACKBONES[backbone].family, *([] if adapter is None else [adapter])]
    data = ModelCardData(
        library_name=LIBRARIES[form],
        pipeline_tag="image-feature-extraction",
        tags=[*tags, "adaptface_jax"],
        base_model=base_model,
    )
    if results:  # they are listed under the model's name
        data.model_name, data.eval_results = " ".join(filter(None, (backbone, adapter))), results
    page = (out / CARD).read_text(encoding="utf-8")
    write_text(out / CARD, f"---\n{data.to_yaml()}\n---\n\n{page}{_section(metrics)}")


def _section(metrics: Mapping[str, Metrics]) -> str:
    if not metrics:
        return ""
    rows = [[name, percent(entry.accuracy), f"{entry.auc:.4f}"] for name, entry in metrics.items()]
    protocol = "Accuracy by the LFW protocol: ten folds, the threshold of each chosen on the other nine."
    return f"\n## Face verification\n\n{table(['benchmark', 'accuracy', 'AUC'], rows)}\n\n{protocol}\n"
