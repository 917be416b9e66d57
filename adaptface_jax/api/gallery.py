"""Templates of people on the device, in blocks of one shape, with exact search.

Everything here is immutable: a change returns a new gallery that shares the unchanged blocks, so only a changed block
is copied to the device again, and a running search is not disturbed. Every block has the same number of rows, so adding
a person never recompiles anything.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np

ROWS = 1 << 14  # of a block: 32 MiB at 512 dimensions
PROBES = 256  # searched at a time


@dataclasses.dataclass(frozen=True)
class Block:
    """templates: float32 [ROWS, E] on the device, unit rows; those beyond the names are padding. names: of people."""

    templates: jax.Array
    names: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Gallery:
    """blocks: all of them full but the last. Person number i is row i % ROWS of block i // ROWS."""

    width: int
    blocks: tuple[Block, ...] = ()

    def __len__(self) -> int:
        return (len(self.blocks) - 1) * ROWS + len(self.blocks[-1].names) if self.blocks else 0

    def name(self, number: int) -> str:
        """Of a person."""
        return self.blocks[number // ROWS].names[number % ROWS]

    def names(self) -> Iterator[str]:
        """Of all people, in order."""
        return (name for block in self.blocks for name in block.names)

    def templates(self) -> Iterator[np.ndarray]:
        """Of all people, in order, a block at a time: float32 [n, E] on the host."""
        return (np.asarray(block.templates)[: len(block.names)] for block in self.blocks)

    def added(self, names: Sequence[str], templates: np.ndarray) -> Gallery:
        """With more people appended. templates: float32 [n, E], unit rows."""
        blocks, start = list(self.blocks), 0
        while start < len(names):
            if not blocks or len(blocks[-1].names) == ROWS:
                blocks.append(Block(jnp.zeros((0, self.width), jnp.float32), ()))
            last = blocks[-1]
            stop = start + ROWS - len(last.names)
            kept = np.asarray(last.templates)[: len(last.names)]
            blocks[-1] = block((*last.names, *names[start:stop]), [kept, templates[start:stop]])
            start = stop
        return dataclasses.replace(self, blocks=tuple(blocks))

    def removed(self, number: int) -> Gallery:
        """Without one person, whose number passes to the last one."""
        blocks = list(self.blocks)
        place, row = divmod(number, ROWS)
        last = blocks[-1]
        name, template = last.names[-1], np.asarray(last.templates)[len(last.names) - 1]
        if place < len(blocks) - 1 or row < len(last.names) - 1:
            changed = np.array(blocks[place].templates)
            changed[row] = template
            names = blocks[place].names
            blocks[place] = block((*names[:row], name, *names[row + 1 :]), [changed])
        blocks[-1] = Block(blocks[-1].templates, blocks[-1].names[:-1])
        return dataclasses.replace(self, blocks=tuple(blocks if blocks[-1].names else blocks[:-1]))

    def nearest(self, probes: np.ndarray, top: int) -> tuple[np.ndarray, np.ndarray]:
        """The `top` people most similar to each probe, best first; ties go to the lower number.

        Args: probes: float32 [P, E], unit rows. top: at least 1; at most len(self) are found.
        Returns (similarities float32 [P, T], numbers int32 [P, T]), in float32 at the highest precision.
        """
        top = min(top, len(self))
        width = 1 << max(top - 1, 0).bit_length()  # few different ones, since each is compiled
        rows = min(1 << max(len(probes) - 1, 0).bit_length(), PROBES)
        parts = []
        for start in range(0, len(probes), rows):
            part = np.zeros((rows, self.width), np.float32)
            count = min(rows, len(probes) - start)
            part[:count] = probes[start : start + count]
            # Put where the blocks are: an uncommitted array would trigger a compilation of its own.
            nobody = np.full((rows, width), -np.inf, np.float32), np.zeros((rows, width), np.int32)
            best = jax.device_put(nobody, jax.local_devices()[0])
            for place, held in enumerate(self.blocks):
                best = _merged(best, held.templates, part, place * ROWS, len(held.names))
            parts.append([np.asarray(values)[:count, :top] for values in best])
        if not parts:
            return np.empty((0, top), np.float32), np.empty((0, top), np.int32)
        similarity, number = (np.concatenate(column) for column in zip(*parts, strict=True))
        return similarity, number


def block(names: tuple[str, ...], parts: Sequence[np.ndarray]) -> Block:
    """A block of the rows of `parts`, padded."""
    filled = sum(len(part) for part in parts)
    empty = np.zeros((ROWS - filled, parts[0].shape[1]), np.float32)
    return Block(jax.device_put(np.concatenate([*parts, empty]), jax.local_devices()[0]), names)


@jax.jit
def _merged(
    best: tuple[jax.Array, jax.Array], templates: jax.Array, probes: jax.Array, start: int, count: int
) -> tuple[jax.Array, jax.Array]:
    """The best so far, similarities and numbers [P, T], merged with one more block whose first number is `start`."""
    scores = jnp.matmul(probes, templates.T, precision=jax.lax.Precision.HIGHEST)
    scores = jnp.where(jnp.arange(ROWS) < count, scores, -jnp.inf)
    found, row = jax.lax.top_k(scores, min(best[0].shape[1], ROWS))
    # Earlier hits have lower numbers and come first, and top_k breaks ties by order.
    similarity, place = jax.lax.top_k(jnp.concatenate([best[0], found], axis=1), best[0].shape[1])
    numbers = jnp.concatenate([best[1], row + start], axis=1)
    return similarity, jnp.take_along_axis(numbers, place, axis=1)
