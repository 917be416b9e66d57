"""The embeddings of a trained model on some benchmark images: do they still distinguish images?"""

from __future__ import annotations

import numpy as np

from adaptface_jax.checks.finding import Finding, fault, ok, warning
from adaptface_jax.checks.run.history import check_gates

SAMPLE = 256
COLLAPSED, CLOSE = 0.98, 0.9


def spread(embeddings: np.ndarray) -> list[Finding]:
    """Mean cosine of two images, and how many dimensions the embeddings use.

    embeddings: float [M, E], raw, of M different images. The number of dimensions is the effective rank, exp of the
    entropy of the variances along the principal axes (Roy and Vetterli, 2007).
    """
    values = np.asarray(embeddings, np.float64)
    if not np.isfinite(values).all():
        return [fault("embeddings", "contain non-finite values", "the weights are broken: use an earlier checkpoint")]
    length = np.linalg.norm(values, axis=1, keepdims=True)
    if not length.all():
        return [
            fault(
                "embeddings",
                f"{int((length == 0).sum())} of {len(values)} are zero",
                "nothing was learned, or units are dead",
            )
        ]
    unit = values / length
    count = len(unit)
    cosine = float((np.square(unit.sum(axis=0)).sum() - count) / (count * (count - 1)))
    variances = np.square(np.linalg.svd(unit - unit.mean(axis=0), compute_uv=False))
    total = variances.sum()
    portions = variances / max(total, 1e-300)
    rank = float(np.exp(-(portions * np.log(np.maximum(portions, 1e-300))).sum())) if total > 1e-12 else 0.0
    numbers = {"mean_cosine": cosine, "effective_rank": rank, "images": count}
    what = f"mean cosine of two images {cosine:.3f}"
    cause = "collapsed: learning rate or scale too high, labels shuffled, or the head was not trained"
    if cosine > COLLAPSED:
        findings = [fault("embeddings", f"{what}: all nearly identical", cause, **numbers)]
    elif cosine > CLOSE:
        findings = [warning("embeddings", f"{what}: very similar", "trained too little, or collapsing", **numbers)]
    else:
        findings = [ok("embeddings", f"{what}, {count} images", **numbers)]
    filled = f"{rank:.1f} of {min(values.shape[1], count - 1)} dimensions used"
    if rank < 2:
        findings.append(fault("rank", filled, cause, **numbers))
    elif rank < 5 and count > 20:
        findings.append(
            warning("rank", filled, "few people in training, or collapsing: use more identities, or a lower rate")
        )
    else:
        findings.append(ok("rank", filled))
    return findings


def gates_on_images(gate: np.ndarray, null: bool = False) -> Finding:
    """The mean gate of each expert over the images, and the mean entropy; gate float [M, K]. null: see check_gates."""
    values = np.asarray(gate, np.float64)
    entropy = -(values * np.log(np.maximum(values, 1e-20))).sum(axis=1)
    return check_gates(values.mean(axis=0).tolist(), float(entropy.mean()), "on the benchmark", null)
