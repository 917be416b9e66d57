"""Ranks the rows of a gallery by their similarity to probes, on the device, in blocks of both."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

_PROBES, _ROWS = 2048, 4096  # at a time on the device
_GROUP = 64  # rows per group; the most similar row is searched only in the group that contains the block's


class Faces(NamedTuple):
    """Unit embeddings and their people: units float32 [N, E]; person int [N], any numbers, consistent across sets."""

    units: np.ndarray
    person: np.ndarray


class Ranking(NamedTuple):
    """The ranking of the gallery for each of P probes. K: the most rows of any person; S: the parts of the gallery.

    own: float32 [P, K], similarity with the rows of the probe's person, descending, -inf where there are fewer.
    above: int32 [P, K, S], how many rows of other people in each part are at least as similar: ties count against the
      probe.
    nearest: float32 [P, S], the highest similarity with a row of another person in each part, -inf if there is none.
    row: int32 [P, S], that row, the first on ties.
    """

    own: np.ndarray
    above: np.ndarray
    nearest: np.ndarray
    row: np.ndarray


def rank_gallery(gallery: Faces, probes: Faces, ends: tuple[int, ...]) -> Ranking:
    """Searches every probe among all rows, at least one of each.

    ends: where each part of the gallery ends, ascending, the last one at its end. The device holds one block of
    embeddings and similarities at a time, however large the gallery is.
    """
    mates = own_rows(gallery.person, probes.person)
    rows, starts = min(_PROBES, len(probes.units)), (0, *ends[:-1])
    largest = max(end - start for start, end in zip(starts, ends, strict=True))
    size = -(-largest // -(-largest // _ROWS))  # evenly, to keep padding small
    size += -size % _GROUP
    ranked = []
    for first in range(0, len(probes.units), rows):
        shown, mine = probes.units[first : first + rows], mates[first : first + rows]
        block, own_place = _filled(shown, rows), np.full((rows, mates.shape[1]), -1, np.int32)
        own_place[: len(mine)] = mine
        block = jax.device_put(block)
        own = _own(gallery.units, block, own_place, size)
        parts = []
        for start, end in zip(starts, ends, strict=True):
            met = _Met(
                np.zeros(own.shape, np.int32), np.full(rows, -np.inf, np.float32), np.full(rows, start, np.int32)
            )
            for place in range(start, end, size):
                count = min(size, end - place)
                units = _filled(gallery.units[place : place + count], size)
                met = _meet(
                    met, block, own, own_place, units, np.int32(place), None if count == size else np.int32(count)
                )
            parts.append(met)
        above, nearest, row = (np.stack(column, axis=-1)[: len(shown)] for column in zip(*parts, strict=True))
        ranked.append(Ranking(own[: len(shown)], above, nearest, row))
    return Ranking(*(np.concatenate(column) for column in zip(*ranked, strict=True)))


def own_rows(gallery_person: np.ndarray, probe_person: np.ndarray) -> np.ndarray:
    """The rows of each probe's person, int32 [P, K], padded with -1; K is at least 1."""
    order = np.argsort(gallery_person, kind="stable")
    ordered = gallery_person[order]
    first, last = (np.searchsorted(ordered, probe_person, side) for side in ("left", "right"))
    place = first[:, None] + np.arange(max(1, int((last - first).max(initial=0))))
    there = place < last[:, None]
    return np.where(there, order[np.minimum(place, len(order) - 1)], -1).astype(np.int32)


class _Met(NamedTuple):
    """The running result of a block of R probes in a part: above int32 [R, K], nearest float32 [R], row int32 [R]."""

    above: jax.Array | np.ndarray
    nearest: jax.Array | np.ndarray
    row: jax.Array | np.ndarray


def _filled(units: np.ndarray, rows: int) -> np.ndarray:
    """Padded with zeros: one shape is one compilation."""
    if len(units) == rows:
        return np.asarray(units, np.float32)
    result = np.zeros((rows, units.shape[1]), np.float32)
    result[: len(units)] = units
    return result


def _own(gallery: np.ndarray, probes: jax.Array, mates: np.ndarray, size: int) -> np.ndarray:
    """`Ranking.own` of a block of probes, by products of the same shape as all others, or ties would not be exact."""
    places, own = np.unique(mates[mates >= 0]), np.full(mates.shape, -np.inf, np.float32)
    for start in range(0, len(places), size):
        chosen = places[start : start + size]
        scores = np.asarray(_scores(probes, _filled(gallery[chosen], size)))
        probe, which = np.nonzero((mates >= chosen[0]) & (mates <= chosen[-1]))
        own[probe, which] = scores[probe, np.searchsorted(chosen, mates[probe, which])]
    return -np.sort(-own, axis=1)


@jax.jit
def _scores(probes: jax.Array, units: jax.Array) -> jax.Array:
    return jnp.matmul(probes, units.T, precision=jax.lax.Precision.HIGHEST)


@jax.jit
def _meet(
    met: _Met,
    probes: jax.Array,
    own: jax.Array,
    mates: jax.Array,
    units: jax.Array,
    place: jax.Array,
    count: jax.Array | None,
) -> _Met:
    """Updated with a block of rows; place: of its first row in the gallery. count: its rows, None if it is full."""
    probe, size = jnp.arange(len(probes))[:, None], len(units)
    here = (mates >= place) & (mates < place + size)
    # Written in place. Computing masks instead would make each of the passes below several times slower.
    others = _scores(probes, units).at[probe, jnp.where(here, mates - place, size)].set(-jnp.inf, mode="drop")
    if count is not None:
        others = jnp.where(jnp.arange(size) < count, others, -jnp.inf)

    groups = others.reshape(len(probes), -1, _GROUP)

    def above(score: jax.Array) -> jax.Array:
        # Bytes are summed eight times as fast; no group has more rows than a byte can count.
        return (groups >= score[:, None, None]).sum(axis=2, dtype=jnp.int8).sum(axis=1, dtype=jnp.int32)

    counts = jax.lax.map(above, own.T).T
    highest = groups.max(axis=2)
    group = highest.argmax(axis=1)[:, None]
    within = jnp.take_along_axis(groups, group[:, :, None], axis=1)[:, 0].argmax(axis=1)
    nearest, row = highest.max(axis=1), place + _GROUP * group[:, 0] + within
    nearer = nearest > met.nearest
    return _Met(
        met.above + counts, jnp.maximum(nearest, met.nearest), jnp.where(nearer, row, met.row).astype(jnp.int32)
    )
