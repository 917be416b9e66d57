"""Every setting of the two classification studies, its default and its check."""

from __future__ import annotations

import dataclasses

from adaptface_jax.config.schema import CheckpointConfig, LoopConfig, MonitorConfig, ReadingConfig, check_loop, setting
from adaptface_jax.core.errors import InputError


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    name: str = setting(
        "cnn", "three plain convolutions, or three stages of residual blocks", choices=("cnn", "resnet"), first=True
    )
    image_size: int = setting(64, "pixels", low=8, high=4096, first=True)
    channels_block3: int = setting(256, "cnn: channels of the last convolution", low=1, high=65_536)
    blocks: tuple[int, ...] = setting((2, 2, 2), "resnet: residual blocks of each of the three stages")
    width: int = setting(64, "channels of the first stage; each later one has twice as many", low=1, high=16_384)
    activation: str = setting("relu", "leaky is torch's, slope 0.01", choices=("relu", "leaky", "elu", "gelu", "selu"))
    batch_norm: bool = setting(True, "resnet: normalize after each convolution")
    residual: bool = setting(True, "resnet: add each block's input to its output")
    dropout: float = setting(
        0.0, "cnn: before the last layer; resnet: whole channels inside each block", low=0, high=0.99, first=True
    )
    dtype: str = setting("auto", "auto is float32 on a CPU, else bfloat16", choices=("auto", "float32", "bfloat16"))


@dataclasses.dataclass(frozen=True)
class AugmentConfig:
    flip: bool = setting(True, "mirror each image with probability 1/2")
    rotation: float = setting(0.0, "largest angle in degrees", low=0, high=180)
    brightness: float = setting(0.0, "factors from 1 - this to 1 + this", low=0)
    contrast: float = setting(0.0, "factors from 1 - this to 1 + this", low=0)
    saturation: float = setting(0.0, "factors from 1 - this to 1 + this", low=0)
    hue: float = setting(0.0, "largest hue shift, as a fraction of the color circle", low=0, high=0.5)
    crop_scale: tuple[float, ...] | None = setting(None, "smallest and largest area fraction of a random crop")
    crop_ratio: tuple[float, ...] = setting((3 / 4, 4 / 3), "smallest and largest width / height of a random crop")


@dataclasses.dataclass(frozen=True)
class ClassificationDataConfig(ReadingConfig):
    path: str = setting(
        "", "a folder (CelebA, Tiny-ImageNet, a folder per class, Parquet shards) or tfds:NAME", first=True
    )
    attributes: tuple[str, ...] = setting((), "CelebA: the attributes to learn; empty for all", first=True)
    test_fraction: float = setting(0.1, "share of the training part that is held out for testing", low=0.01, high=0.9)
    split_seed: int = setting(42, "seed of that split, stratified by class", low=0, high=2**32 - 1)
    mean: tuple[float, ...] | None = setting(None, "per channel, 0 to 1; none measures the training images")
    std: tuple[float, ...] | None = setting(None, "per channel; none measures the training images")


@dataclasses.dataclass(frozen=True)
class ClassificationEvalConfig:
    every_epochs: int = setting(1, "epochs between two evaluations; 0 only at the end", low=0)
    batch_size: int = setting(256, "images per forward pass", low=1, high=2**20)
    metric: str = setting(
        "macro_f1",
        "what selects the best checkpoint and early stopping",
        choices=("macro_f1", "accuracy", "loss"),
        first=True,
    )
    pixel_baseline: bool = setting(False, "also fit a logistic regression on the pixels, at the end of the run")


@dataclasses.dataclass(frozen=True)
class ClassificationConfig:
    """An image classifier from scratch, `python -m adaptface_jax.classify`."""

    task: str = setting("classification", "what is trained", choices=("classification",))
    seed: int = setting(0, "initial values, order of the data, augmentation", low=0, high=2**32 - 1)
    model: ModelConfig = ModelConfig()
    augment: AugmentConfig = AugmentConfig()
    data: ClassificationDataConfig = ClassificationDataConfig()
    train: LoopConfig = LoopConfig()
    eval: ClassificationEvalConfig = ClassificationEvalConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    monitor: MonitorConfig = MonitorConfig()


def check(config: ClassificationConfig) -> None:
    """Raise InputError if two settings contradict each other; single values are checked by `overrides.freeze`."""
    check_loop(config.train)
    model, data, augment = config.model, config.data, config.augment
    if len(model.blocks) != 3 or min(model.blocks) < 1 or max(model.blocks) > 1000:
        raise InputError(f"model.blocks: {model.blocks} is not three counts from 1 to 1000, like 2,2,2")
    if (data.mean is None) != (data.std is None):
        raise InputError("data.mean and data.std belong together; set both, or neither to measure them")
    for name, values in (("data.mean", data.mean), ("data.std", data.std)):
        if values is not None and (len(values) != 3 or min(values) < 0 or max(values) > 1):
            raise InputError(f"{name}: {values} is not three numbers from 0 to 1, of red, green and blue")
    if data.std is not None and min(data.std) == 0:
        raise InputError(f"data.std: {data.std} divides by zero")
    for name, values, high in (("crop_scale", augment.crop_scale, 1.0), ("crop_ratio", augment.crop_ratio, 100.0)):
        if values is not None and (len(values) != 2 or not 0 < values[0] <= values[1] <= high):
            raise InputError(f"augment.{name}: {values} is not two ordered values above 0, at most {high:g}")
