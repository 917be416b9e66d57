"""Who is it? Probes are searched in a gallery of known people.

A person's images in the gallery become one template, the mean of their unit embeddings: the search then costs a row a
person, and one bad image of many does not decide. Closed set: rank and CMC of the probes whose person is in the
gallery. Open set: TPIR at FPIR (Grother, Quinn and Phillips, NISTIR 7709, 2010): a probe of a person who is not in the
gallery should find nobody.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from adaptface_jax.core.errors import InputError
from adaptface_jax.evaluation.distances import unit_embeddings
from adaptface_jax.evaluation.roc import MIN_FALSE_ACCEPTS, far_name

FPIRS = (1e-1, 1e-2, 1e-3)
DEEPEST = 20  # ranks of the CMC
UNKNOWN = -1
_SCORES = 1 << 24  # similarities at a time on the device


@dataclasses.dataclass(frozen=True)
class Identification:
    """rank1, rank5: share of known probes whose person is among the first 1 and 5. cmc: the same for 1, 2 .. 20 (or
    as many as there are people). tpir_at_fpir: name of the target FPIR ("1e-2") -> share of known probes whose person
    comes first and above the threshold that so many unknown probes pass; None where under 10 of them would.
    people: in the gallery. gallery_images, known_probes, unknown_probes: images.
    """

    rank1: float
    rank5: float
    cmc: tuple[float, ...]
    tpir_at_fpir: dict[str, float | None]
    people: int
    gallery_images: int
    known_probes: int
    unknown_probes: int

    def line(self) -> str:
        """For people."""
        tpirs = ", ".join(
            f"{name} {'n/a' if tpir is None else f'{100 * tpir:.2f}%'}" for name, tpir in self.tpir_at_fpir.items()
        )
        return (
            f"identification: {self.known_probes:,} probes of {self.people:,} people, "
            f"rank-1 {100 * self.rank1:.2f}%, rank-5 {100 * self.rank5:.2f}%; "
            f"{self.unknown_probes:,} probes of unknown people, TPIR@FPIR {tpirs}"
        )


def identify(
    gallery: np.ndarray, gallery_person: np.ndarray, probes: np.ndarray, probe_person: np.ndarray
) -> Identification:
    """Searches every probe.

    Args:
      gallery: float [G, E], raw embeddings (with those of the mirror images added, if any). gallery_person: int [G],
        0..I-1, each with an image. probes: float [P, E], raw. probe_person: int [P], 0..I-1 or UNKNOWN.

    Raises InputError where no probe's person is in the gallery, and for embeddings without a direction.
    """
    known = probe_person != UNKNOWN
    if not known.any():
        raise InputError("--probes: no probe shows a person of the gallery; expected folders of the same names in both")
    templates = person_templates(gallery, gallery_person)
    rank, own, top = search(templates, unit_embeddings(probes).astype(np.float32), probe_person)
    rank, own, strangers = rank[known], own[known], np.sort(top[~known])[::-1]
    people = len(templates)
    cmc = [float((rank <= depth).mean()) for depth in range(1, min(people, DEEPEST) + 1)]
    return Identification(
        rank1=cmc[0],
        rank5=float((rank <= 5).mean()),
        cmc=tuple(cmc),
        tpir_at_fpir={far_name(fpir): _tpir(rank, own, strangers, fpir) for fpir in FPIRS},
        people=people,
        gallery_images=len(gallery),
        known_probes=len(rank),
        unknown_probes=len(strangers),
    )


def person_templates(gallery: np.ndarray, person: np.ndarray) -> np.ndarray:
    """Raw embeddings [G, E] -> mean of each person's unit embeddings, at unit length, float32 [I, E]."""
    order = np.argsort(person, kind="stable")
    starts = np.searchsorted(person[order], np.arange(person.max() + 1))
    return unit_embeddings(np.add.reduceat(unit_embeddings(gallery)[order], starts, axis=0)).astype(np.float32)


def search(templates: np.ndarray, probes: np.ndarray, person: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Similarities of unit probes [P, E] with unit templates [I, E], in blocks on the device.

    Returns, [P] each: the rank of the probe's own person (1: first; a tie counts against it), that similarity, and the
    highest one. The first two mean nothing for UNKNOWN.
    """
    rows = max(1, min(len(probes), _SCORES // len(templates)))
    on_device = jax.device_put(templates)
    parts = []
    for start in range(0, len(probes), rows):
        # The last block is padded: one shape is one compilation.
        block = np.zeros((rows, probes.shape[1]), np.float32)
        label = np.zeros(rows, np.int32)
        count = min(rows, len(probes) - start)
        block[:count], label[:count] = probes[start : start + count], np.maximum(person[start : start + count], 0)
        parts.append([np.asarray(value)[:count] for value in _search(on_device, block, label)])
    rank, own, top = (np.concatenate(column) for column in zip(*parts, strict=True))
    return rank, own, top


@jax.jit
def _search(templates: jax.Array, probes: jax.Array, person: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    scores = jnp.matmul(probes, templates.T, precision=jax.lax.Precision.HIGHEST)
    own = jnp.take_along_axis(scores, person[:, None], axis=1)
    return (scores >= own).sum(axis=1), own[:, 0], scores.max(axis=1)


def _tpir(rank: np.ndarray, own: np.ndarray, strangers: np.ndarray, fpir: float) -> float | None:
    """strangers: the best similarity of each unknown probe, descending."""
    if fpir * len(strangers) < MIN_FALSE_ACCEPTS - 1e-9:
        return None
    threshold = strangers[int(fpir * len(strangers) + 1e-9)]
    return float(((rank == 1) & (own > threshold)).mean())
