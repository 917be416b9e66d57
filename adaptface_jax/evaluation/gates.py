"""The gates of a DA-LoRA model on images whose domain is known."""

from __future__ import annotations

import dataclasses

import numpy as np

from adaptface_jax.core.errors import InputError


@dataclasses.dataclass(frozen=True)
class GateReport:
    """mean: domain name -> mean gate of its images, K values that sum to 1.
    usage: domain name -> share of those images whose largest gate is each expert's, K values that sum to 1.

    agreement: share of images whose largest gate is one of their domains', meaningful for a router trained with domain
      labels. An image in several domains is correct with any of them.
    matched_agreement: the same under the one-to-one matching of gates with domains that maximizes it, for a router
      that numbered its experts by itself; with few images or uniform gates it exceeds 1/K by chance.
    entropy: mean entropy of the images' gates in nats, 0..log K. images: how many have a known domain.
    """

    mean: dict[str, tuple[float, ...]]
    usage: dict[str, tuple[float, ...]]
    agreement: float
    matched_agreement: float
    entropy: float
    images: int


def gate_report(gates: np.ndarray, image_domain: np.ndarray, names: tuple[str, ...]) -> GateReport:
    """Compares gates with true domains.

    Args:
      gates: float [M, K], non-negative, rows summing to 1.
      image_domain: 0 or 1, [M, D]: which images are in which domain; a row of zeros is unknown (ignored).
      names: of the D domains; there may be more or fewer than gates.

    Raises InputError if the shapes or values do not fit, or no image has a known domain.
    """
    from scipy.optimize import linear_sum_assignment  # takes half a second, and only DA-LoRA needs it

    gates, holds = np.asarray(gates, np.float64), np.asarray(image_domain).astype(bool)
    if gates.ndim != 2 or holds.shape != (len(gates), len(names)):
        raise InputError(
            f"gates: shape {gates.shape} for domains of shape {holds.shape}; expected [M, K] and [M, {len(names)}]"
        )
    if not np.isfinite(gates).all():
        raise InputError("gates: contain a non-finite value")
    known = holds.any(axis=1)
    if not known.any():
        raise InputError("image_domain: no image has a known domain")
    gates, holds = gates[known], holds[known]
    chosen = np.eye(gates.shape[1])[gates.argmax(axis=1)]
    table = holds.T @ chosen  # images in the domain that choose the expert
    matched = table[linear_sum_assignment(table, maximize=True)].sum()
    entropy = -(gates * np.log(np.maximum(gates, np.finfo(np.float64).tiny))).sum(axis=1)
    present = {name: domain for domain, name in enumerate(names) if holds[:, domain].any()}
    return GateReport(
        mean={name: tuple(gates[holds[:, domain]].mean(axis=0).tolist()) for name, domain in present.items()},
        usage={name: tuple((table[domain] / table[domain].sum()).tolist()) for name, domain in present.items()},
        agreement=float(np.trace(table) / len(gates)),
        matched_agreement=float(matched / len(gates)),
        entropy=float(entropy.mean()),
        images=len(gates),
    )
