"""Locating weights: a local path first, else a Hugging Face hub id, downloaded into the hub's own cache."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from adaptface_jax.core.errors import InputError
from adaptface_jax.weights.formats.reader import INDEX, SINGLE
from adaptface_jax.weights.sidecar.hugging_face import CONFIG, PREPROCESSOR, PROCESSOR
from adaptface_jax.weights.sidecar.open_clip import OPEN_CLIP

FILES = (CONFIG, PREPROCESSOR, PROCESSOR, OPEN_CLIP, SINGLE, INDEX, "model-*-of-*.safetensors")
OPEN_CLIP_WEIGHTS = "open_clip_model.safetensors"
_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".json")


def resolve(source: str) -> Path:
    """The local path of `source`; a hub id is downloaded first (its settings and safetensors files, nothing else).

    Raises InputError for a missing path, and if the hub cannot be reached or does not have the model.
    """
    path = Path(source).expanduser()
    if path.exists():
        return path
    if not is_of_hub(source):
        raise InputError(f"{source}: no such file or folder; expected a local path or a hub id such as OWNER/NAME")
    return _download(source)


def is_of_hub(source: str) -> bool:
    """Whether `source` names a model on the hub: it looks like an id, and not like a path on this machine."""
    path = Path(source).expanduser()
    known = path.exists() or (path.parent != Path() and path.parent.is_dir())
    return is_hub_id(source) and not known


def is_hub_id(source: str) -> bool:
    """Whether `source` reads as OWNER/NAME."""
    name = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?"
    return re.fullmatch(f"{name}/{name}", source) is not None and not source.endswith(_SUFFIXES)


def download_adapter(repo: str, files: Sequence[str]) -> Path:
    """Only these files of an adapter on the hub, in any of its folders; raises InputError as `resolve` does."""
    return _snapshot(
        repo, [pattern for file in files for pattern in (file, f"*/{file}")], f"{files[0]} and {files[1]}", "name that"
    )


def _download(repo: str) -> Path:
    hint = (f"{SINGLE} and {CONFIG}", "run: adaptface convert ./FOLDER --out OUT")
    folder = _snapshot(repo, FILES, *hint)
    if not any((folder / name).is_file() for name in (SINGLE, INDEX)):  # else the same weights would come twice
        folder = _snapshot(repo, [*FILES, OPEN_CLIP_WEIGHTS], *hint)
    if not any((folder / name).is_file() for name in (SINGLE, INDEX, OPEN_CLIP_WEIGHTS)):
        raise InputError(
            f"{repo}: has no {SINGLE}; only safetensors files are downloaded: choose a model that has them, or "
            "download its file and convert it"
        )
    return folder


def _snapshot(repo: str, patterns: Sequence[str], what: str, then: str) -> Path:
    import huggingface_hub  # takes half a second, which local weights need not wait for
    from huggingface_hub.errors import RepositoryNotFoundError
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()  # they would mix with ours
    try:
        return Path(huggingface_hub.snapshot_download(repo, allow_patterns=list(patterns)))
    except RepositoryNotFoundError:
        raise InputError(
            f"{repo}: neither a local path nor a public model on the hub; check the spelling, or log in"
        ) from None
    except Exception as error:  # the transport's errors share no base class across versions of the hub library
        raise InputError(
            f"{repo}: the hub cannot be reached ({type(error).__name__}); on a connected machine, download {what} from "
            f"https://huggingface.co/{repo}/tree/main into a folder, then {then}"
        ) from None
