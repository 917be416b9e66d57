# SPDX-License-Identifier: Apache-2.0
"""Run folders without training: a synthetic backbone in the Hugging Face layout, synthetic trained values, one
checkpoint."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import jax
import numpy as np

from adaptface_jax.config.schema import Config
from adaptface_jax.core import trees
from adaptface_jax.distributed.mesh import make_mesh
from adaptface_jax.evaluation.gates import GateReport
from adaptface_jax.evaluation.results import RESULTS, Results
from adaptface_jax.export.tower import hf_config
from adaptface_jax.losses.margin import init_statistics
from adaptface_jax.models.specs import BackboneSpec
from adaptface_jax.training import optim
from adaptface_jax.training.checkpoint import CHECKPOINTS, Checkpoints
from adaptface_jax.training.recognition.facts import RunFacts
from adaptface_jax.training.recognition.model import Model, build_model
from adaptface_jax.training.run import write_record
from adaptface_jax.training.step import init_state
from adaptface_jax.weights.names import engine
from adaptface_jax.weights.names.dialects import HF_CLIP, HF_DINOV2
from adaptface_jax.weights.names.dinov3 import HF_DINOV3
from adaptface_jax.weights.names.siglip import HF_SIGLIP
from tests import made_models as models
from tests import made_weights as dialects
from tests.made_results import benchmark_result


def write_backbone(folder: Path, spec: BackboneSpec) -> None:
    """Synthetic weights of `spec` as Hugging Face publishes them: biases, norms and layer scales far from 0 and 1."""
    rng = np.random.default_rng(5)
    leaves = {}
    for path, shape in engine.tree_shapes(spec).items():
        noise = rng.standard_normal(shape, dtype=np.float32)
        leaves[path] = 1 + 0.3 * noise if path.endswith(("scale", "gamma")) else 0.1 * noise
    folder.mkdir(parents=True, exist_ok=True)
    table = {"clip": HF_CLIP, "dinov2": HF_DINOV2, "dinov3": HF_DINOV3, "siglip": HF_SIGLIP}[spec.family]
    prefix = "vision_model." if spec.family == "siglip" else ""
    tensors = engine.to_names(table, spec, trees.unflatten(leaves))
    dialects.save(folder / "model.safetensors", {prefix + name: tensor for name, tensor in tensors.items()})
    (folder / "config.json").write_text(json.dumps(hf_config(spec)))


def write_run(workdir: Path, config: Config, classes: int = 4) -> Model:
    """A run at step 7 with every trainable value away from its initial one; returns its model."""
    mesh = make_mesh()
    model = build_model(config, classes, mesh)
    model = dataclasses.replace(model, trainable=models.made(model.trainable, seed=1))
    optimizer = optim.optimizer(config.train, optim.schedule(config.train, 1, 1))
    with Checkpoints(workdir / CHECKPOINTS) as checkpoints:
        state = dataclasses.replace(init_state(model.trainable, optimizer, init_statistics()), step=np.int32(7))
        checkpoints.save(7, jax.device_put(state))
    record = {"config": dataclasses.asdict(config), "backbone": model.identity, "data": {"classes": classes}}
    write_record(workdir, record)
    return model


def write_run_with_thresholds(workdir: Path) -> Path:
    """DA-LoRA on the packaged backbone: a checkpoint of step 7, thresholds on lfw and named gates of step 9."""
    config = models.config("dalora", num_domains=3)
    write_run(workdir, dataclasses.replace(config, backbone=dataclasses.replace(config.backbone, weights="builtin")))
    gates = GateReport(
        mean={"age": (0.1, 0.8, 0.1), "pose": (0.7, 0.2, 0.1), "light": (0.2, 0.2, 0.6)},
        usage={},
        agreement=0.3,
        matched_agreement=1.0,
        entropy=0.9,
        images=90,
    )
    thresholds = {"1e-1": 4.0, "1e-2": 1e-9, "1e-3": None, "1e-4": None}
    lfw = benchmark_result(0.9, threshold_at_far=thresholds, gates=gates)
    facts = RunFacts("demo", "builtin", "dalora", "made", steps=9, seed=0)
    (workdir / RESULTS).write_text(Results({"lfw": lfw}, run=facts).to_json())
    return workdir
