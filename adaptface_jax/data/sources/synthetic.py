"""Generated faces as a training source and as a verification benchmark.

    synthetic:identities=64,images=24,seed=1            people to train on
    synthetic:identities=40,images=12,seed=2,pairs=600  pairs to verify
    ... ,labels=none                                    hides the condition of every image

Image j of a person is hard in condition j % 3: pose, age, light; each is a domain if no others are requested. Different
seeds have different people.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from adaptface_jax.core.errors import InputError
from adaptface_jax.data.benchmarks.benchmark import FOLDS
from adaptface_jax.data.domains import parse_domains
from adaptface_jax.data.labels import UNKNOWN, Column, LabelTable
from adaptface_jax.data.record import Record, Source
from adaptface_jax.data.synthetic_faces.conditions import DOMAINS
from adaptface_jax.data.synthetic_faces.generate import RESERVED_SEED, Population
from adaptface_jax.data.synthetic_faces.render import SIZE

PREFIX = "synthetic:"
CONDITION = "condition"  # the column of the label table
_MAX_IMAGES = 1_000_000


@dataclasses.dataclass(frozen=True)
class Spec:
    """identities, images (of each), seed; pairs (0: a training source); labels: domain | none."""

    identities: int = 64
    images: int = 24
    seed: int = 1
    pairs: int = 0
    labels: str = "domain"


def fail(text: str, problem: str) -> InputError:
    """The error about a spec, with the valid keys."""
    keys = ", ".join(f"{f.name}={f.default}" for f in dataclasses.fields(Spec))
    return InputError(f"{PREFIX}{text}: {problem}; the keys and their defaults are {keys}")


def parse_spec(spec: str) -> Spec:
    """`[synthetic:]key=value,...` -> Spec; raises InputError naming the keys and their defaults."""
    text = spec.removeprefix(PREFIX)
    values: dict[str, int | str] = {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if key not in {f.name for f in dataclasses.fields(Spec)} or not equals:
            raise fail(text, f"{part!r} is not a setting")
        if key in values:
            raise fail(text, f"{key!r} is given twice")
        if key == "labels":
            if value not in ("domain", "none"):
                raise fail(text, f"labels={value} must be 'domain' or 'none'")
            values[key] = value
        elif value.isascii() and value.isdigit():
            values[key] = int(value)
        else:
            raise fail(text, f"{part!r} must be an integer")
    parsed = Spec(**values)  # type: ignore[arg-type]
    if parsed.identities < 2 or parsed.images < 1:
        raise fail(text, "there must be at least 2 identities with 1 image each")
    if parsed.identities * parsed.images > _MAX_IMAGES:
        raise fail(text, f"{parsed.identities * parsed.images} images are too many; at most {_MAX_IMAGES}")
    if parsed.seed == RESERVED_SEED:
        raise fail(text, f"seed {RESERVED_SEED} is reserved for the people on whom the packaged backbone was trained")
    if parsed.pairs and (parsed.images < 2 * len(DOMAINS) or parsed.pairs < FOLDS):
        raise fail(text, f"a benchmark needs at least {2 * len(DOMAINS)} images per person and {FOLDS} pairs")
    return parsed


class SyntheticSource(Source):
    """Generated people. All images of a person are rendered when one is first read, then cached."""

    image_size = (SIZE, SIZE)

    def __init__(self, spec: Spec):
        self._spec = spec
        self._people = Population(spec.seed)
        self._rendered: dict[int, np.ndarray] = {}  # identity -> uint8 [images, 112, 112, 3]
        hidden = ", domains hidden" if spec.labels == "none" else ""
        super().__init__(
            np.repeat(np.arange(spec.identities, dtype=np.int32), spec.images),
            [f"{identity:05d}" for identity in range(spec.identities)],
            f"generated faces: {spec.identities} identities x {spec.images} images, seed {spec.seed}{hidden}",
        )
        if not hidden:
            of_person = [1 + self._people.domain(picture) for picture in range(spec.images)]
            codes = np.tile(np.array(of_person, np.uint8), spec.identities)
            column = Column(codes, (UNKNOWN, *DOMAINS))
            self.table = LabelTable({CONDITION: column}, np.ones(len(codes), bool), "the generated faces", "key")
            domains = parse_domains(";".join(f"{name}:{CONDITION}={name}" for name in DOMAINS))
            self.domains, self.domain_names = domains.membership(self.table), domains.names

    def __getitem__(self, index: int) -> Record:
        index = range(len(self))[index]
        identity = index // self._spec.images
        return Record(self.image(index), identity, self.key(index))

    def key(self, index: int) -> str:
        identity, picture = divmod(index, self._spec.images)
        return f"seed{self._spec.seed}/{identity:05d}/{picture:04d}"

    def image(self, index: int) -> np.ndarray:
        """uint8 [112, 112, 3]; read-only, since it is shared."""
        identity, picture = divmod(index, self._spec.images)
        album = self._rendered.get(identity)
        if album is None:  # building a person costs as much as two images, so it is done once
            album = np.stack([self._people.picture(identity, j)[0] for j in range(self._spec.images)])
            album.setflags(write=False)
            self._rendered[identity] = album
        return album[picture]


def open_synthetic(spec: str) -> SyntheticSource:
    """The training source of `synthetic:identities=64,images=24,seed=1`; raises InputError on a bad spec."""
    parsed = parse_spec(spec)
    if parsed.pairs:
        raise fail(spec.removeprefix(PREFIX), "with pairs it is a benchmark, not a training set")
    return SyntheticSource(parsed)
