"""One fixed mixture in place of DA-LoRA's per-image gates: as given, or the mean over a data set, and what it costs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jax.sharding import Mesh

from adaptface_jax.core.errors import InputError
from adaptface_jax.data.record import Images, Source
from adaptface_jax.evaluation.embedding import Embedder
from adaptface_jax.export.merged import fold
from adaptface_jax.training.recognition.model import Model

MEAN = "mean"
BATCH = 64  # images per forward pass


def choose_mix(
    text: str | None, model: Model, source: Source | None, mesh: Mesh
) -> tuple[tuple[float, ...], list[str]]:
    """(the weight of each expert, lines that say what is lost); (1.0,) if there is nothing to mix.

    text: `w1,w2,w3`, or `mean`: the mean gates over `source`. Raises InputError if it is required but missing, if it
    does not fit the number of experts, and for weights that are not a mixture.
    """
    count = model.recognizer.num_domains
    if not count:
        for flag, given in (("--mix", text), ("--data", source)):
            if given is not None:
                kind = model.recognizer.config.adapter.kind
                raise InputError(f"{flag}: is for DA-LoRA, and the run has adapter.kind={kind}; omit it")
        return (1.0,), []
    if text is None:
        raise InputError(
            f"--mix: DA-LoRA weights its {count} experts per image, which merged weights cannot; give {count} "
            "weights that sum to 1, or --mix=mean --data=SOURCE"
        )
    named = None if text == MEAN else parse_mix(text, count)
    if source is None:
        if named is None:
            raise InputError("--mix: mean needs --data=SOURCE, the faces whose gates are averaged")
        return named, [f"mix {_shown(named)}: the per-image gates are lost; --data=SOURCE measures how much"]
    embedder = Embedder(model.recognizer, mesh, BATCH, model.stored_size)
    exact = embedder(model.frozen, model.trainable, Images(source), flip=False)
    assert exact.gate is not None
    mean = exact.gate.astype(np.float64).mean(axis=0)
    mix = named or tuple(float(weight) for weight in mean / mean.sum())
    folded = fold(model, mix)
    embedder = Embedder(folded.recognizer, mesh, BATCH, model.stored_size)
    merged = embedder(folded.frozen, folded.trainable, Images(source), flip=False)
    cosine = np.sum(_unit(exact.embedding) * _unit(merged.embedding), axis=1)
    loss = (
        f"over {len(source):,} images of {source.description}: cosine between the run's own and the merged embedding "
        f"{cosine.mean():.4f} on average, {cosine.min():.4f} at worst"
    )
    return mix, [f"mix {_shown(mix)}: the per-image gates are lost", loss]


def parse_mix(text: str, count: int) -> tuple[float, ...]:
    """`0.5,0.3,0.2` as weights; raises InputError unless they are `count` nonnegative numbers that sum to 1."""
    try:
        mix = tuple(float(word) for word in text.split(","))
    except ValueError:
        raise InputError(f"--mix: {text!r} is neither a list like 0.5,0.3,0.2 nor `mean`") from None
    if len(mix) != count:
        raise InputError(f"--mix: {len(mix)} weights for {count} experts; expected one for each")
    if not all(0 <= weight <= 1 for weight in mix) or abs(sum(mix) - 1) > 1e-6:
        raise InputError(f"--mix: {text} sums to {sum(mix):g}; expected nonnegative weights that sum to 1")
    return mix


def _shown(mix: Sequence[float]) -> str:
    return ",".join(f"{weight:.4f}" for weight in mix)


def _unit(x: np.ndarray) -> np.ndarray:
    x = x.astype(np.float64)
    return x / np.linalg.norm(x, axis=1, keepdims=True)
