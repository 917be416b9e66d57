"""How the rows of a gallery rank by their likeness to probes, on the device, in blocks of probes."""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

_SCORES = 1 << 24  # similarities at a time on the device


class Faces(NamedTuple):
    """Unit embeddings and whose they are: units float32 [N, E]; person int [N], any numbers, the same in all sets."""

    units: np.ndarray
    person: np.ndarray


class Ranking(NamedTuple):
    """What the gallery is to each of P probes. K: the most rows that a person has; S: the parts of the gallery.

    own: float32 [P, K], similarity with the rows of the probe's own person, descending, -inf where there are fewer.
    above: int32 [P, K, S], how many rows of other people in each part are at least as alike as that: ties count against
      the probe.
    nearest: float32 [P, S], the highest similarity with another's row in each part, -inf where there is none.
    row: int32 [P, S], that row, the first of equal ones.
    """

    own: np.ndarray
    above: np.ndarray
    nearest: np.ndarray
    row: np.ndarray


def rank_gallery(gallery: Faces, probes: Faces, ends: tuple[int, ...]) -> Ranking:
    """Searches every probe among all rows, at least one of each.

    ends: where each part of the gallery ends, ascending, the last one at its end. The embeddings lie on the device
    whole; of the similarities a block at a time.
    """
    mates = own_rows(gallery.person, probes.person)
    rows = max(1, min(len(probes.units), _SCORES // len(gallery.units)))
    on_device = jax.device_put(np.asarray(gallery.units, np.float32))
    parts = []
    for start in range(0, len(probes.units), rows):
        # The last block is padded: one shape is one compilation.
        block = np.zeros((rows, gallery.units.shape[1]), np.float32)
        own = np.full((rows, mates.shape[1]), -1, np.int32)
        count = min(rows, len(probes.units) - start)
        block[:count], own[:count] = probes.units[start : start + count], mates[start : start + count]
        parts.append([np.asarray(value)[:count] for value in _rank(on_device, block, own, ends)])
    return Ranking(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def own_rows(gallery_person: np.ndarray, probe_person: np.ndarray) -> np.ndarray:
    """The rows of each probe's person, int32 [P, K], filled up with -1; K is at least 1."""
    order = np.argsort(gallery_person, kind="stable")
    ordered = gallery_person[order]
    first, last = (np.searchsorted(ordered, probe_person, side) for side in ("left", "right"))
    place = first[:, None] + np.arange(max(1, int((last - first).max(initial=0))))
    there = place < last[:, None]
    return np.where(there, order[np.minimum(place, len(order) - 1)], -1).astype(np.int32)


@functools.partial(jax.jit, static_argnames="ends")
def _rank(
    gallery: jax.Array, probes: jax.Array, mates: jax.Array, ends: tuple[int, ...]
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    scores = jnp.matmul(probes, gallery.T, precision=jax.lax.Precision.HIGHEST)
    own = jnp.take_along_axis(scores, jnp.maximum(mates, 0), axis=1)
    own = -jnp.sort(-jnp.where(mates < 0, -jnp.inf, own), axis=1)
    probe = jnp.arange(len(probes))[:, None]
    others = scores.at[probe, jnp.where(mates < 0, len(gallery), mates)].set(-jnp.inf, mode="drop")
    parts = [others[:, start:end] for start, end in zip((0, *ends), ends, strict=False)]

    def above(score: jax.Array) -> jax.Array:
        return jnp.stack([(part >= score[:, None]).sum(axis=1) for part in parts], axis=1)

    counts = jax.lax.map(above, own.T).swapaxes(0, 1)
    nearest = jnp.stack([part.max(axis=1) for part in parts], axis=1)
    row = jnp.stack([part.argmax(axis=1) + end - part.shape[1] for part, end in zip(parts, ends, strict=True)], axis=1)
    return own, counts, nearest, row
