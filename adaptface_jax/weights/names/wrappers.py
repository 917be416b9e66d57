"""What stands around a tower in a file: the prefix that wrappers gave its names, other copies of it, heads.

Compilers, parallel training and trainers put a word before every name (`_orig_mod.`, `module.`, `model.`,
`state_dict.`, `teacher.backbone.`, `visual.`) and further parts beside the tower. Such words are not listed: a tower
stands wherever the names do that every file of its table has.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from adaptface_jax.core.text import shown
from adaptface_jax.weights.names.tables import Table

# Moving averages of the weights: what DINOv2, timm and others evaluate, where a training saves them.
_AVERAGED = re.compile(r"(?:^|[._])(?:ema|teacher|averaged?|swa)(?:[._]|$)", re.IGNORECASE)
# Put before any module of a model, not only before the whole.
_WITHIN = re.compile(r"(?:(?<=\.)|^)(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
_HEADS = (
    "classifier.",
    "head.",
    "heads.",
    "linear_head.",
    "fc.",
    "dino_head.",
    "ibot_head.",
    "logit_scale",
    "logit_bias",
)


def unwrapped(names: Iterable[str], prefix: str) -> Mapping[str, str]:
    """Name without its prefix, and without what compilers and parallel training put within it -> the name in a file."""
    names = list(names)
    plain = {_WITHIN.sub("", name[len(prefix) :]): name for name in names}
    return plain if len(plain) == len(names) else {name[len(prefix) :]: name for name in names}


def prefixes(table: Table, names: Iterable[str]) -> list[str]:
    """What may stand before the names of `table`, "" if nothing does, in the order of the file."""
    found: dict[str, None] = {}
    for name in names:
        for anchor in table.anchors:
            if name == anchor or name.endswith(f".{anchor}"):
                found[name.removesuffix(anchor)] = None
    return list(found)


def is_averaged(prefix: str) -> bool:
    """Whether a prefix speaks of a moving average."""
    return _AVERAGED.search(prefix) is not None


def is_head(name: str) -> bool:
    """Whether a name within a tower is of a head that somebody trained on it."""
    return name.startswith(_HEADS)


def folded(names: Sequence[str], prefix: str) -> list[str]:
    """What was put aside, for people: one word for all that stands under the same module beside the tower.

    >>> folded(["model.student.a.x", "model.student.a.y", "model.teacher.head.x"], "model.teacher.backbone.")
    ['model.student.* (2)', 'model.teacher.head.x']
    """
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(_module(name, prefix), []).append(name)
    return [shown(module) + f".* ({len(of)})" if len(of) > 1 else shown(of[0]) for module, of in groups.items()]


def _module(name: str, prefix: str) -> str:
    """The outermost module of `name` that the tower under `prefix` is no part of."""
    parts = name.split(".")
    for count in range(1, len(parts)):
        module = ".".join(parts[:count])
        if not prefix.startswith(f"{module}."):
            return module
    return name
