"""Adapt frozen vision foundation models to face recognition with LoRA and Domain-Aware LoRA.

    import adaptface_jax as af

    model = af.open("runs/exp003")                # a run, a converted folder, a weight file, a hub id, or "builtin"
    faces = model.embed(["a.jpg", "b.jpg"])       # faces.embeddings: unit float32 [N, E]; faces.gates; faces.paths
    model.verify("a.jpg", "b.jpg", far=1e-3)      # similarity, decision, threshold and its source
    people = model.index("people/")               # one folder per person
    people.search(["c.jpg"], top=5, far=1e-4)

These names are imported on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from adaptface_jax.core.version import __version__

if TYPE_CHECKING:
    from adaptface_jax.api.face_model import FaceModel
    from adaptface_jax.api.faces import Faces
    from adaptface_jax.api.hits import Hit
    from adaptface_jax.api.index import Index, SearchResult
    from adaptface_jax.api.open_model import open_model as open  # noqa: A004  (like `Image.open`, used with the package name)
    from adaptface_jax.api.pair import PairDecision
    from adaptface_jax.api.photographs import Photograph
    from adaptface_jax.core.errors import InputError
    from adaptface_jax.evaluation.thresholds import Threshold

__all__ = [
    "FaceModel",
    "Faces",
    "Hit",
    "Index",
    "InputError",
    "PairDecision",
    "Photograph",
    "SearchResult",
    "Threshold",
    "__version__",
    "open",
]

# Public name -> where it is.
_PLACES = {
    "FaceModel": "api.face_model",
    "Faces": "api.faces",
    "Hit": "api.hits",
    "Index": "api.index",
    "InputError": "core.errors",
    "PairDecision": "api.pair",
    "Photograph": "api.photographs",
    "SearchResult": "api.index",
    "Threshold": "evaluation.thresholds",
    "open": "api.open_model",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module(f"{__name__}.{_PLACES[name]}")
    value = getattr(module, "open_model" if name == "open" else name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
