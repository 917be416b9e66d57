"""An image classifier as pure functions of its parameters and its running moments, as NNX modules define it."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
from flax import nnx

from adaptface_jax.config.classification import ModelConfig
from adaptface_jax.core import trees
from adaptface_jax.models.cnn import Cnn
from adaptface_jax.models.recognizer import ParameterCount
from adaptface_jax.models.resnet import ResNet

Tree = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Classifier:
    """outputs: classes or attributes. dtype: of the computation; parameters and moments are float32. Has no arrays.

    by_image: see `layers.conv.Conv`; for one CPU, where the batch is not split over devices.
    """

    config: ModelConfig
    outputs: int
    dtype: Any
    by_image: bool = False

    def init(self, seed: int) -> tuple[Tree, Tree]:
        """New (parameters, moments); the moments of a model without normalization are an empty tree."""
        network = self._build(seed)
        return nnx.to_pure_dict(nnx.state(network, nnx.Param)), nnx.to_pure_dict(nnx.state(network, nnx.BatchStat))

    def logits(
        self, params: Tree, moments: Tree, images: jax.Array, key: jax.Array | None = None
    ) -> tuple[jax.Array, Tree]:
        """Images [B, S, S, 3], normalized -> (logits float32 [B, outputs], moments).

        key: for dropout, in training. Batches are then normalized by their own moments, and the running ones updated.
        """
        graph = nnx.graphdef(nnx.eval_shape(lambda: self._build(0)))
        network = nnx.merge(graph, trees.overlay(params, moments))
        found = network(images.astype(self.dtype), key, self.by_image)
        return found, nnx.to_pure_dict(nnx.state(network, nnx.BatchStat))

    def _build(self, seed: int) -> Cnn | ResNet:
        config, rngs = self.config, nnx.Rngs(seed)
        shared: dict[str, Any] = {
            "width": config.width,
            "activation": config.activation,
            "dropout": config.dropout,
            "rngs": rngs,
        }
        if config.name == "cnn":
            return Cnn(self.outputs, channels=config.channels_block3, **shared)
        return ResNet(
            self.outputs, blocks=config.blocks, batch_norm=config.batch_norm, residual=config.residual, **shared
        )


def parameter_counts(params: Tree) -> tuple[ParameterCount, ...]:
    """The counts of every part of the network, all of them trained."""
    return tuple(ParameterCount(part, trees.count(leaves), trees.count(leaves)) for part, leaves in params.items())
