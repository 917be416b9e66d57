# SPDX-License-Identifier: Apache-2.0
"""Several runs on one backbone; each image uses one of them."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import shown
from adaptface_jax.distributed.mesh import sharding
from adaptface_jax.evaluation.embedding import Embedder
from adaptface_jax.models.adapters import several
from adaptface_jax.training.recognition.model import Model
from adaptface_jax.training.recognition.run import open_same_backbone

Run = str | os.PathLike[str]
Chosen = Run | Iterable[Run]  # for all images, or for each


@dataclasses.dataclass(frozen=True)
class Held:
    """names: of the runs, in order. stack: what they trained (`models.adapters.several`)."""

    names: tuple[str, ...]
    stack: several.Tree

    def place(self, run: Any) -> int:
        name = os.fspath(run) if isinstance(run, os.PathLike) else run
        if name not in self.names:
            raise InputError(
                f"adapters: {shown(str(name))} is not one of those opened: {', '.join(map(shown, self.names))}"
            )
        return self.names.index(name)


class Adapters:
    """What several runs trained, side by side, and the function that embeds with it; thread-safe.

    held: the current runs. embedder: runs `held.stack`, given the number of each image's adapter.
    """

    def __init__(self, first: Model, name: str, others: Sequence[Run], mesh: Mesh, batch_size: int) -> None:
        """first: the opened run, by its name. Raises InputError if a run has another backbone, or differs so much
        from the first that no single function embeds with both."""
        self._first, self._mesh = first, mesh
        names = (name, *(os.fspath(other) for other in others))
        if twice := [one for one in names if names.count(one) > 1]:
            raise InputError(f"adapters: {shown(twice[0])} is named twice; the opened run itself is the first one")
        with _naming(name):
            several.check_alike(first.recognizer.config, first.recognizer.config)
        models = [first, *(open_same_backbone(Path(one), "best", first, mesh) for one in names[1:])]
        config = several.common([model.recognizer.config for model in models])
        self.recognizer = dataclasses.replace(first.recognizer, config=config)
        self.embedder = Embedder(self.recognizer, mesh, batch_size, first.stored_size)
        trees = [self._alone(model, one) for model, one in zip(models, names, strict=True)]
        stack = several.slots(trees[0], len(trees))
        for place, tree in enumerate(trees):
            stack = several.put(stack, place, tree)
        self.held = Held(names, jax.device_put(stack, sharding(mesh)))

    def swap(self, old: Run, new: Run, checkpoint: str | int = "best") -> None:
        """Replace one run with another; raises InputError, and changes nothing, where it does not fit."""
        held, name = self.held, os.fspath(new)
        place = held.place(old)
        names = (*held.names[:place], name, *held.names[place + 1 :])
        if names.count(name) > 1:
            raise InputError(f"adapters: {shown(name)} is already open")
        tree = self._alone(open_same_backbone(Path(name), str(checkpoint), self._first, self._mesh), name)
        self.held = Held(names, jax.device_put(several.put(held.stack, place, tree), sharding(self._mesh)))

    def _alone(self, model: Model, name: str) -> several.Tree:
        with _naming(name):
            form = self.recognizer.config
            return several.alone(model.frozen, model.trainable, model.recognizer.config, form, model.recognizer.spec)


class Choice(Iterator[np.ndarray]):
    """The adapter number of each row of each forward pass, int32 [rows], as images arrive.

    stack, embedder: those held when the choice was made, whatever is swapped later.
    """

    def __init__(self, adapters: Adapters, chosen: Chosen) -> None:
        held = adapters.held
        self.stack, self.embedder = held.stack, adapters.embedder
        self._one = isinstance(chosen, str | os.PathLike)
        if not isinstance(chosen, str | os.PathLike | Iterable):
            raise InputError(f"adapters: is a {type(chosen).__name__}; expected a name, or one for each image")
        names = itertools.repeat(chosen) if isinstance(chosen, str | os.PathLike) else chosen
        self._places = (held.place(name) for name in names)
        self._passes: collections.deque[np.ndarray] = collections.deque()

    def add(self, count: int, rows: int) -> None:
        """`count` more images, in passes of `rows`; raises InputError if there are too few names."""
        found = np.fromiter(itertools.islice(self._places, count), np.int32)
        if len(found) < count:
            raise InputError("adapters: fewer names than images; expected one for each image, or one for all")
        for start in range(0, count, rows):
            part = found[start : start + rows]
            self._passes.append(np.pad(part, (0, rows - len(part))))

    def __next__(self) -> np.ndarray:
        return self._passes.popleft()

    def end(self) -> None:
        """No more images; raises InputError if names are left."""
        if not self._one and next(self._places, None) is not None:
            raise InputError("adapters: more names than images; expected one for each image, or one for all")


@contextlib.contextmanager
def _naming(name: str) -> Iterator[None]:
    """An InputError raised in the block begins with the run it is about."""
    try:
        yield
    except InputError as error:
        raise InputError(f"adapters: {shown(name)}: {error}") from None
