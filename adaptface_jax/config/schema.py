# SPDX-License-Identifier: Apache-2.0
"""Every setting of face training, with default and check; what all trainings share (`LoopConfig` ...).

A config file's `get_config()` returns a ConfigDict made by `defaults()` or `inherit()` and changed there; the command
line overrides single settings (`--config.adapter.rank=8`); `overrides.freeze` turns the result into a `Config`.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from adaptface_jax.core.errors import InputError


def setting(
    default: Any,
    doc: str,
    *,
    choices: tuple = (),
    low: float | None = None,
    high: float | None = None,
    first: bool = False,
) -> Any:
    """A dataclass field with its description and its allowed values (inclusive bounds).

    first: whether `--help` shows it; `--help-all` shows every setting.
    """
    metadata = {"doc": doc, "choices": choices, "low": low, "high": high, "first": first}
    if isinstance(default, dict):
        return dataclasses.field(default_factory=lambda: dict(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True)
class BackboneConfig:
    name: str = setting("dinov2_vits14", "the vision model, e.g. dinov3_vitb16, insightface_vitb9, demo", first=True)
    weights: str = setting(
        "", "converted folder, local file, hub id, `builtin` (demo), or empty for random", first=True
    )
    image_size: int = setting(
        0, "pixels, a multiple of the patch size; 0 is the backbone's own (DINOv2: 224)", low=0, high=4096, first=True
    )
    train_patch_embed: bool = setting(False, "train a copy of the patch embedding")
    dtype: str = setting("auto", "auto is float32 on a CPU, else bfloat16", choices=("auto", "float32", "bfloat16"))
    feature: str = setting("cls", "the backbone's own, or CLIP's projected one", choices=("cls", "projected"))
    quantize: str = setting(
        "none", "int8 stores the frozen blocks' kernels in 8 bits, a scale for each output", choices=("none", "int8")
    )
    attention: str = setting(
        "auto",
        "computed over the whole batch, each image, by cuDNN, or with all of a block by kernels of its own",
        choices=("auto", "whole", "each", "cudnn", "fused"),
    )


@dataclasses.dataclass(frozen=True)
class AdapterConfig:
    kind: str = setting(
        "lora", "none is a linear probe, full is fine-tuning", choices=("lora", "dalora", "none", "full"), first=True
    )
    rank: int = setting(16, "rank of each expert", low=1, high=4096, first=True)
    alpha: float = setting(16.0, "the update is scaled by alpha / rank", low=0)
    targets: tuple[str, ...] = setting(("qkv", "proj"), "adapted layers, among qkv q k v proj fc1 fc2")
    blocks: tuple[int | str, ...] = setting((), "adapted blocks, such as 0-5,11; none for all", low=0)
    rank_pattern: dict[str, int] = setting(
        {}, "other ranks, such as attn.q=8,blocks.0.mlp.fc1=4; keys as PEFT's", low=1, high=4096
    )
    alpha_pattern: dict[str, float] = setting({}, "other alphas, in the same form", low=1e-6)
    dropout: float = setting(0.0, "dropout on the adapter's input", low=0, high=0.99)
    use_rslora: bool = setting(False, "scale by alpha / sqrt(rank)")
    init_from: str = setting("", "start from this PEFT adapter's folder; empty for fresh values")
    num_domains: int = setting(3, "gates of DA-LoRA, an expert each", low=2, high=256)
    null_expert: bool = setting(False, "dalora: the last expert is the frozen model itself, without parameters")
    null_weight: float = setting(
        1.0, "null expert: how many new images an old one counts in teaching the gates; more keeps doubtful ones", low=0
    )
    gate: str = setting("soft", "dalora: all experts, weighted by the gates, or the top one", choices=("soft", "top1"))
    shared_rank: int = setting(0, "dalora: rank of an extra expert applied in full to every image", low=0, high=4096)
    router: str = setting(
        "block:2", "`frozen` (CLS of the unadapted backbone) or `block:N` (mean token after N blocks)"
    )
    router_input: str = setting(
        "mean",
        "block:N: mean_std adds each channel's deviation over the tokens, which shows blur",
        choices=("mean", "mean_std"),
    )
    balance_weight: float = setting(0.0, "weight of the expert balance in the loss", low=0)
    domain_loss_weight: float = setting(0.1, "weight of the cross-entropy on known domain labels", low=0)

    def alpha_at(self, rank: int) -> float:
        """The alpha with which a LoRA of that rank scales its update like this one; at the same rank, the same
        alpha."""
        more = rank / self.rank
        return self.alpha * (math.sqrt(more) if self.use_rslora else more)

    def at_rank(self, rank: int) -> AdapterConfig:
        """The LoRA of that rank whose update is scaled like this one's in every layer; patterns scale in proportion.

        Ranks stay whole for settings that `models.settings.check_model` accepts.
        """
        return dataclasses.replace(
            self,
            kind="lora",
            rank=rank,
            alpha=self.alpha_at(rank),
            rank_pattern={key: value * rank // self.rank for key, value in self.rank_pattern.items()},
            alpha_pattern={
                key: dataclasses.replace(self, alpha=value).alpha_at(rank) for key, value in self.alpha_pattern.items()
            },
        )


@dataclasses.dataclass(frozen=True)
class HeadConfig:
    kind: str = setting(
        "auto", "none uses the feature as embedding, as auto does for face models", choices=("auto", "linear", "none")
    )
    embedding_dim: int = setting(512, "width of the embedding", low=2, high=65_536)


@dataclasses.dataclass(frozen=True)
class LossConfig:
    name: str = setting(
        "cosface",
        "margin on the target logit",
        choices=("cosface", "arcface", "adaface", "combined", "curricularface", "magface"),
    )
    scale: float = setting(64.0, "s, the inverse temperature", low=1e-6)
    margin: float = setting(
        0.35, "m: on the cosine (cosface), on the angle (arcface, curricularface), AdaFace's m", low=0
    )
    margin_std: float = setting(
        0.0, "cosface, arcface: deviation of a margin drawn for each image (ElasticFace)", low=0
    )
    magface: tuple[float, ...] = setting(
        (10.0, 110.0, 0.45, 0.8, 35.0), "magface: least and greatest norm, the margins there, weight of the norms' loss"
    )
    subcenters: int = setting(1, "centers per class, of which the nearest counts (sub-center ArcFace)", low=1, high=64)
    margins: tuple[float, ...] = setting((1.0, 0.3, 0.2), "m1, m2, m3 of the combined margin cos(m1 t + m2) - m3")
    sample_rate: float = setting(
        1.0, "share of the class centers that a step samples besides those of its images; 1: all", low=1e-4, high=1
    )
    dtype: str = setting(
        "float32",
        "of the cosines' products (sums are float32); auto is float32 on a CPU, else bfloat16",
        choices=("auto", "float32", "bfloat16"),
    )
    optimizer: str = setting(
        "same", "of the class centers; same: train.optimizer", choices=("same", "adamw", "adam", "sgd")
    )
    learning_rate: float | None = setting(
        None, "peak learning rate of the class centers, on the same schedule; none: train.learning_rate", low=0
    )
    keep_weight: float = setting(
        0.0, "weight of the cosine distance to the frozen model's feature, on data.keep or the batch itself", low=0
    )
    class_chunk: int = setting(0, "classes whose logits a device holds at a time; 0 chooses by the batch", low=0)


@dataclasses.dataclass(frozen=True)
class AugmentConfig:
    flip: bool = setting(True, "mirror each image with probability 1/2")
    randaugment_ops: int = setting(0, "operations per image", low=0, high=32)
    randaugment_magnitude: int = setting(16, "greatest of 31 levels; drawn from 1 to this", low=1, high=30)
    shift: float = setting(
        0.0, "greatest random shift, scale and rotation, as a fraction of the image", low=0, high=0.5
    )
    blur: float = setting(0.0, "greatest standard deviation of a blur, as a fraction of the width", low=0, high=0.5)
    low_resolution: float = setting(0.0, "smallest side, as a fraction of the image's; 0 off", low=0, high=1)
    jpeg: int = setting(0, "lowest quality of simulated JPEG, 1 to 100; 0 off", low=0, high=100)
    cutout: float = setting(0.0, "greatest area of a gray hole, as a fraction of the image's", low=0, high=1)
    worsened: float = setting(
        0.5, "share of images degraded by blur, low_resolution, jpeg and cutout, each up to its setting", low=0, high=1
    )


@dataclasses.dataclass(frozen=True)
class ReadingConfig:
    """How images are read, for any training."""

    overfit_small: int | None = setting(None, "train on only this many images, as --overfit_small does", low=1)
    threads: int | None = setting(
        None, "batches decoded at a time, more than 3 in processes; none chooses by the machine", low=0, high=1024
    )
    bad_records: str = setting(
        "fail", "an unreadable image ends the run, or is logged and gets zero weight", choices=("fail", "skip")
    )
    max_bad_records: int = setting(100, "skip: more bad records than this end the run", low=0)


@dataclasses.dataclass(frozen=True)
class DataConfig(ReadingConfig):
    train: str = setting("", "a path, tfds:NAME or synthetic:SPEC", first=True)
    benchmarks: dict[str, str] = setting({}, "name -> path of the verification sets")
    max_identities: int | None = setting(None, "the first N identities in sorted order", low=2)
    max_per_identity: int | None = setting(None, "the first N images of each identity", low=1)
    stored_size: int | str = setting(
        "auto",
        "pixels at which images go to the device; auto: the set's own, up to backbone.image_size",
        low=16,
        high=4096,
    )
    labels: str = setting("", "a table of image labels; empty for labels.csv in the training folder")
    domains: str = setting("", "domains made from the labels, e.g. pose=left|right; light=bad; ordinary")
    keep: str = setting("", "images of the old domain, in the form of data.train, for loss.keep_weight")
    exclude: str = setting("", "a list of pairs, as for --benchmark, whose people are left out of training")


@dataclasses.dataclass(frozen=True)
class LoopConfig:
    """Optimizer, learning rate and length of any training."""

    optimizer: str = setting(
        "adamw", "adam's decay is an L2 penalty, adamw's is decoupled", choices=("adamw", "adam", "sgd")
    )
    momentum: float = setting(0.9, "sgd: Nesterov's is not used", low=0, high=1)
    batch_size: int = setting(128, "images per optimizer step over all devices", low=1, high=2**20, first=True)
    epochs: int = setting(40, "passes over the data", low=1, first=True)
    steps: int | None = setting(None, "optimizer steps; takes precedence over epochs", low=1, first=True)
    learning_rate: float = setting(1e-4, "peak learning rate", low=0, first=True)
    weight_decay: float = setting(0.05, "not on biases and norms", low=0)
    warmup_steps: int = setting(0, "linear warm-up from 0", low=0)
    schedule: str = setting("cosine", "after the warm-up", choices=("cosine", "constant", "step", "restarts"))
    min_learning_rate: float = setting(0.0, "where cosine and restarts end", low=0)
    hold_epochs: int = setting(0, "restarts: epochs at the peak before the first cosine", low=0)
    restart_epochs: int = setting(5, "restarts: length of the first cosine", low=1)
    restart_factor: int = setting(2, "restarts: each cosine is this much longer", low=1)
    decay_epochs: tuple[int, ...] = setting((20, 30), "step: epochs at which the rate drops")
    decay_factor: float = setting(0.1, "step: by this factor", low=0, high=1)
    grad_accum: int = setting(1, "parts a batch is split into", low=1)
    clip_norm: float | None = setting(None, "clip the global gradient norm", low=1e-12)
    log_every: int = setting(10, "steps between two rows of metrics", low=1)
    max_skipped: int = setting(10, "stop after this many non-finite steps in a row; 0 never", low=0)
    patience: int = setting(0, "stop early after this many evaluations without a better score; 0 never", low=0)


@dataclasses.dataclass(frozen=True)
class TrainConfig(LoopConfig):
    model_parallel: int = setting(1, "devices that share the class centers", low=1)
    fsdp: int = setting(1, "devices that share the frozen blocks; a step gathers one block at a time", low=1)
    ema: float = setting(
        0.0, "decay of a moving average of the trained weights, then verified and used; 0 off", low=0, high=0.999999
    )
    keep_batch: int = setting(0, "images of data.keep with each batch; 0: as many as the batch has", low=0)
    feature_cache: float = setting(
        2.0, "gigabytes for frozen features, each computed once where images are not augmented or only flipped", low=0
    )
    remat: bool = setting(False, "recompute each block in the backward pass: less memory, more time")
    unroll: int = setting(
        0, "blocks per iteration of the loop over the depth; 0: all of them in training on one CPU, else 1", low=0
    )


@dataclasses.dataclass(frozen=True)
class EvalConfig:
    every_epochs: int = setting(1, "epochs between two verifications; 0 only at the end", low=0)
    batch_size: int = setting(256, "images per forward pass", low=1, high=2**20)
    flip: bool = setting(True, "sum the embeddings of image and mirror image")
    guard: tuple[str, ...] = setting((), "benchmarks on which the run must not fall below the frozen backbone")
    guard_points: float = setting(0.0, "points of accuracy that a guarded benchmark may lose", low=0, high=100)
    guard_action: str = setting("warn", "what happens when it loses more", choices=("warn", "stop"))


@dataclasses.dataclass(frozen=True)
class CheckpointConfig:
    every_steps: int = setting(1000, "steps between two saves; the last step is always saved", low=1)
    keep: int = setting(2, "latest checkpoints kept, besides the best one", low=1)
    keep_every: int = setting(0, "steps between checkpoints that are kept permanently, for `replay`; 0 none", low=0)


@dataclasses.dataclass(frozen=True)
class MonitorConfig:
    images: bool = setting(False, "face images and embeddings in TensorBoard: biometric data")
    wandb: bool = setting(False, "send the scalars to Weights & Biases too (extra `wandb`)")


@dataclasses.dataclass(frozen=True)
class Config:
    """Face training: an adapter on a frozen backbone, `python -m adaptface_jax.train`."""

    task: str = setting("recognition", "what is trained", choices=("recognition",))
    seed: int = setting(0, "initial values, order of the data, augmentation", low=0, high=2**32 - 1)
    backbone: BackboneConfig = BackboneConfig()
    adapter: AdapterConfig = AdapterConfig()
    head: HeadConfig = HeadConfig()
    loss: LossConfig = LossConfig()
    augment: AugmentConfig = AugmentConfig()
    data: DataConfig = DataConfig()
    train: TrainConfig = TrainConfig()
    eval: EvalConfig = EvalConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    monitor: MonitorConfig = MonitorConfig()


def check(config: Config) -> None:
    """Raise InputError if two settings contradict each other.

    Single values are checked by `overrides.freeze`, those that depend on the backbone by `models.settings.check_model`.
    """
    adapter = config.adapter
    check_loop(config.train)
    if isinstance(config.data.stored_size, str) and config.data.stored_size != "auto":
        raise InputError(f"data.stored_size: {config.data.stored_size!r} is neither auto nor pixels, such as 224")
    check_margins(config.loss)
    if config.loss.learning_rate is not None and not config.train.learning_rate:
        raise InputError(
            f"loss.learning_rate: {config.loss.learning_rate:g} follows the schedule of train.learning_rate, which "
            "is 0; set that rate, or omit this one"
        )
    for name in config.data.benchmarks:
        if not is_name(name):
            raise InputError(f"data.benchmarks: {name!r} is not a benchmark name; expected letters, digits, - and _")
    if adapter.kind == "full":
        asked = {"train.fsdp": config.train.fsdp > 1, "backbone.quantize": config.backbone.quantize != "none"}
        for name, given in asked.items():
            if given:
                raise InputError(
                    f"{name}: is for frozen weights, and adapter.kind=full trains all of them; omit it, or choose "
                    "another adapter.kind"
                )
    if adapter.kind != "dalora" and (adapter.null_expert or adapter.gate != "soft"):
        name = "null_expert" if adapter.null_expert else "gate"
        raise InputError(f"adapter.{name}: adapter.kind={adapter.kind} has no gates; use dalora, or omit it")
    if adapter.null_weight != 1 and not adapter.null_expert:
        raise InputError("adapter.null_weight: is for adapter.null_expert, which is off; turn that on, or omit this")
    if adapter.kind == "dalora" and adapter.router == "frozen" and adapter.router_input != "mean":
        raise InputError(
            f"adapter.router_input: {adapter.router_input} is of tokens inside the backbone, and adapter.router=frozen "
            "takes its feature; use adapter.router=block:N, or omit it"
        )
    if adapter.null_expert and config.backbone.train_patch_embed:
        raise InputError(
            "backbone.train_patch_embed: adapter.null_expert keeps the frozen model for some images, and a trained "
            "patch embedding changes it for all; turn one of them off"
        )
    if adapter.null_expert and adapter.init_from:
        raise InputError("adapter.init_from: no PEFT folder holds an adapter with a null expert; omit one of the two")
    if config.loss.keep_weight and (adapter.kind == "full" or not moves(config)):
        why = "keeps no frozen model to stay near" if adapter.kind == "full" else "leaves the feature as it is"
        raise InputError(f"loss.keep_weight: adapter.kind={adapter.kind} {why}; use lora or dalora, or omit it")
    if config.data.keep and not config.loss.keep_weight:
        raise InputError("data.keep: is for loss.keep_weight, which is 0; set that, e.g. to 10, or omit this")
    if config.train.keep_batch and not config.data.keep:
        raise InputError("train.keep_batch: counts images of data.keep, and none is given; set it, or omit this")
    if adapter.kind == "full" and config.backbone.train_patch_embed:
        raise InputError("backbone.train_patch_embed: adapter.kind=full already trains it; turn it off")
    if adapter.kind not in ("lora", "dalora"):
        for name in ("init_from", "blocks", "rank_pattern", "alpha_pattern"):
            if getattr(adapter, name):
                raise InputError(
                    f"adapter.{name}: adapter.kind={adapter.kind} has no adapter to initialize or shape; "
                    "use lora or dalora, or omit it"
                )


def check_margins(loss: LossConfig) -> None:
    """Raise InputError for margin settings that are invalid or belong to another loss."""
    if loss.name == "combined" and len(loss.margins) != 3:
        raise InputError(f"loss.margins: {loss.margins} is not three numbers m1, m2, m3")
    if loss.margin_std and loss.name not in ("cosface", "arcface"):
        raise InputError(f"loss.margin_std: {loss.name} has no margin to draw; use cosface or arcface, or omit it")
    if loss.name == "magface":
        given = loss.magface
        if len(given) != 5 or not (0 < given[0] < given[1] and 0 <= given[2] <= given[3] and given[4] >= 0):
            raise InputError(
                f"loss.magface: {given} is not five numbers: norms 0 < low < high, their margins, and a weight"
            )


def moves(config: Config) -> bool:
    """Whether training changes the backbone's feature."""
    return config.adapter.kind != "none" or config.backbone.train_patch_embed


def is_name(text: str) -> bool:
    """Whether this is a valid benchmark name: it becomes part of file names, tags and URLs."""
    return text.replace("_", "").replace("-", "").isalnum() and len(text) <= 80


def check_loop(train: LoopConfig) -> None:
    """The same for the settings that all trainings share."""
    if any(epoch < 1 for epoch in train.decay_epochs):
        raise InputError(f"train.decay_epochs: {train.decay_epochs} has an epoch below 1")
    if train.batch_size % train.grad_accum:
        raise InputError(
            f"train.grad_accum: {train.grad_accum} does not divide train.batch_size {train.batch_size}; "
            "choose a divisor"
        )
    if train.min_learning_rate > train.learning_rate:
        raise InputError(
            f"train.min_learning_rate: {train.min_learning_rate} is above train.learning_rate {train.learning_rate}"
        )


def sections(kind: type) -> dict[str, type]:
    """Name of a section -> the dataclass of its settings."""
    return {f.name: type(f.default) for f in dataclasses.fields(kind) if dataclasses.is_dataclass(f.default)}
