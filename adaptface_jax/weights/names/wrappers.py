"""What surrounds a tower in a file: the prefix that wrappers gave its names, other copies of it, heads.

Compilers, parallel training and trainers prefix every name (`_orig_mod.`, `module.`, `model.`, `state_dict.`,
`teacher.backbone.`, `visual.`) and add further parts next to the tower. Such prefixes are not listed: a tower is
located by the names that every file of its table has.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from adaptface_jax.core.text import shown
from adaptface_jax.weights.names.tables import Table

# Moving averages of the weights: DINOv2, timm and others evaluate these, if a training run saves them.
_AVERAGED = re.compile(r"(?:^|[._])(?:ema|teacher|averaged?|swa)(?:[._]|$)", re.IGNORECASE)
# Prefixed to any module of a model, not only to the whole.
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
    """Name without its prefix, and without what compilers and parallel training insert -> the name in a file."""
    names = list(names)
    plain = {_WITHIN.sub("", name[len(prefix) :]): name for name in names}
    return plain if len(plain) == len(names) else {name[len(prefix) :]: name for name in names}


def prefixes(table: Table, names: Iterable[str]) -> list[str]:
    """The possible prefixes of the names of `table`, "" for none, in the order of the file."""
    found: dict[str, None] = {}
    for name in names:
        for anchor in table.anchors:
            if name == anchor or name.endswith(f".{anchor}"):
                found[name.removesuffix(anchor)] = None
    return list(found)


def is_averaged(prefix: str) -> bool:
    """Whether a prefix names a moving average."""
    return _AVERAGED.search(prefix) is not None


def is_head(name: str) -> bool:
    """Whether a name within a tower is of a head that was trained on it."""
    return name.startswith(_HEADS)


def folded(names: Sequence[str], prefix: str) -> list[str]:
    """What was set aside, to be displayed: one entry for everything under the same module outside the tower.

    >>> folded(["model.student.a.x", "model.student.a.y", "model.teacher.head.x"], "model.teacher.backbone.")
    ['model.student.* (2)', 'model.teacher.head.x']
    """
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(_module(name, prefix), []).append(name)
    return [shown(module) + f".* ({len(of)})" if len(of) > 1 else shown(of[0]) for module, of in groups.items()]


def _module(name: str, prefix: str) -> str:
    """The outermost module of `name` that does not contain the tower under `prefix`."""
    parts = name.split(".")
    for count in range(1, len(parts)):
        module = ".".join(parts[:count])
        if not prefix.startswith(f"{module}."):
            return module
    return name
