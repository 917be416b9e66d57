"""Verification pairs of generated faces, whose people, poses, ages and light are known."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping

import numpy as np

from adaptface_jax.data.benchmarks.benchmark import FOLDS, Benchmark
from adaptface_jax.data.domains import parse_domains
from adaptface_jax.data.sources.synthetic import PREFIX, SyntheticSource, fail, parse_spec
from adaptface_jax.data.synthetic_faces.conditions import DOMAINS


def generated_of(benchmarks: Mapping[str, str]) -> tuple[str, ...]:
    """The names of the benchmarks, given with their paths, whose faces are generated."""
    return tuple(name for name, path in benchmarks.items() if path.startswith(PREFIX))


@functools.lru_cache(maxsize=4)
def open_synthetic_benchmark(spec: str, domains: str = "") -> Benchmark:
    """Pairs of `synthetic:identities=40,images=12,seed=2,pairs=600`; raises InputError on a bad spec.

    Genuine and impostor pairs alternate, and so do the cells, a condition against itself or another, so every fold
    has the same mixture. With at least 20 people, those of a fold appear in no other fold.

    domains: as in `open_benchmark`; if no image has any of these, they keep the generator's own.
    """
    parsed = parse_spec(spec)
    if not parsed.pairs:
        raise fail(spec.removeprefix(PREFIX), "a benchmark needs pairs=N")
    source, rng, kinds = SyntheticSource(parsed), np.random.default_rng([parsed.seed, 2**32 - 1]), len(DOMAINS)
    cells = list(itertools.combinations_with_replacement(range(kinds), 2))
    index = np.zeros((parsed.pairs, 2), np.int64)
    issame = np.arange(parsed.pairs) % 2 == 0
    groups = np.array_split(np.arange(parsed.identities), FOLDS if parsed.identities >= 2 * FOLDS else 1)
    for i in range(parsed.pairs):
        same, cell = issame[i], cells[i // 2 % len(cells)]
        group = groups[i * FOLDS // parsed.pairs % len(groups)]
        people = np.repeat(rng.choice(group), 2) if same else rng.choice(group, 2, replace=False)
        if cell[0] == cell[1]:
            pictures = rng.choice(np.arange(cell[0], parsed.images, kinds), 2, replace=not same)
        else:
            pictures = np.array([rng.choice(np.arange(domain, parsed.images, kinds)) for domain in cell])
        index[i] = people * parsed.images + pictures
    used, flat = np.unique(index, return_inverse=True)
    image_domain, names = source.domains, source.domain_names
    if domains and source.table is not None:
        asked = parse_domains(domains)
        if (found := asked.membership(source.table)).any():
            image_domain, names = found, asked.names
    return Benchmark(
        images=[source.image(int(k)) for k in used],
        index=flat.ravel().astype(np.int32),
        issame=issame,
        description=f"{source.description}, {parsed.pairs} pairs",
        person=(used // parsed.images).astype(np.int32),
        image_domain=None if image_domain is None else image_domain[used],
        domain_names=names,
    )
