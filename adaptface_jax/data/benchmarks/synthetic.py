"""Verification pairs of generated faces, whose people, poses, ages and light are known."""

from __future__ import annotations

import functools

import numpy as np

from adaptface_jax.data.benchmarks.benchmark import FOLDS, Benchmark
from adaptface_jax.data.sources.synthetic import PREFIX, SyntheticSource, fail, parse_spec
from adaptface_jax.data.synthetic_faces.conditions import DOMAINS


@functools.lru_cache(maxsize=4)
def open_synthetic_benchmark(spec: str) -> Benchmark:
    """Pairs of `synthetic:identities=40,images=12,seed=2,pairs=600`; raises InputError on a bad spec.

    Both images of a pair are of one domain, the domains take turns, and so do genuine and impostor pairs, so every
    fold holds the same mixture. The people of a fold appear in no other fold where there are at least 20 of them.
    """
    parsed = parse_spec(spec)
    if not parsed.pairs:
        raise fail(spec.removeprefix(PREFIX), "a benchmark needs pairs=N")
    source, rng, kinds = SyntheticSource(parsed), np.random.default_rng([parsed.seed, 2**32 - 1]), len(DOMAINS)
    index = np.zeros((parsed.pairs, 2), np.int64)
    issame, pair_domain = np.zeros(parsed.pairs, bool), np.zeros(parsed.pairs, np.int32)
    groups = np.array_split(np.arange(parsed.identities), FOLDS if parsed.identities >= 2 * FOLDS else 1)
    for i in range(parsed.pairs):
        domain, same = i % kinds, (i // kinds) % 2 == 0
        group = groups[i * FOLDS // parsed.pairs % len(groups)]
        people = np.repeat(rng.choice(group), 2) if same else rng.choice(group, 2, replace=False)
        pictures = rng.choice(np.arange(domain, parsed.images, kinds), 2, replace=not same)
        index[i] = people * parsed.images + pictures
        issame[i], pair_domain[i] = same, domain
    used, flat = np.unique(index, return_inverse=True)
    hidden = parsed.labels == "none"
    domains = (used % parsed.images % kinds).astype(np.int32)
    return Benchmark(
        images=[source.image(int(k)) for k in used],
        index=flat.ravel().astype(np.int32),
        issame=issame,
        description=f"{source.description}, {parsed.pairs} pairs",
        pair_domain=None if hidden else pair_domain,
        image_domain=None if hidden else domains,
        domain_names=() if hidden else DOMAINS,
    )
