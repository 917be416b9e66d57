"""What the gates of a DA-LoRA model do on images whose domain is known."""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy.optimize import linear_sum_assignment

from adaptface_jax.core.errors import InputError


@dataclasses.dataclass(frozen=True)
class GateReport:
    """mean: domain name -> mean gate of its images, K values that sum to 1.
    usage: domain name -> share of its images whose largest gate is each expert's, K values that sum to 1.

    agreement: share of images whose largest gate is their domain's, meaningful for a router trained with domain labels.
    matched_agreement: the same under the one-to-one matching of gates with domains that suits it best, for a router
      that numbered its experts by itself; with few images or even gates it exceeds 1/K by chance.
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
      gates: float [M, K], non-negative, rows summing to 1. image_domain: int [M], index into `names`, -1 unknown
        (left out). names: of the domains; there may be more or fewer than gates.

    Raises InputError where the shapes or values do not fit, or no image has a known domain.
    """
    gates, image_domain = np.asarray(gates, np.float64), np.asarray(image_domain)
    if gates.ndim != 2 or image_domain.shape != gates.shape[:1]:
        raise InputError(
            f"gates: shape {gates.shape} for domains of shape {image_domain.shape}; expected [M, K] and [M]"
        )
    if not np.isfinite(gates).all():
        raise InputError("gates: hold a value that is not finite")
    known = image_domain >= 0
    if not known.any():
        raise InputError("image_domain: no image has a known domain")
    gates, image_domain = gates[known], image_domain[known]
    if image_domain.max() >= len(names):
        raise InputError(f"image_domain: {image_domain.max()} for {len(names)} names; expected -1..{len(names) - 1}")
    chosen = gates.argmax(axis=1)
    table = np.zeros((len(names), gates.shape[1]))
    np.add.at(table, (image_domain, chosen), 1)
    matched = table[linear_sum_assignment(table, maximize=True)].sum()
    entropy = -(gates * np.log(np.maximum(gates, np.finfo(np.float64).tiny))).sum(axis=1)
    present = {name: domain for domain, name in enumerate(names) if (image_domain == domain).any()}
    return GateReport(
        mean={name: tuple(gates[image_domain == domain].mean(axis=0).tolist()) for name, domain in present.items()},
        usage={name: tuple((table[domain] / table[domain].sum()).tolist()) for name, domain in present.items()},
        agreement=float((chosen == image_domain).mean()),
        matched_agreement=float(matched / len(gates)),
        entropy=float(entropy.mean()),
        images=len(gates),
    )
