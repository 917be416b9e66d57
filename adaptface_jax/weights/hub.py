# SPDX-License-Identifier: Apache-2.0
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
_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?"
# As the hub's own pages and timm, open_clip and fsspec write it.
_ID = re.compile(
    rf"(?:https://huggingface\.co/|hf[-_]hub:|hf://)?({_NAME}/{_NAME})(?:(?:@|/tree/)([A-Za-z0-9][\w./-]{{0,199}}))?"
)


def resolve(source: str) -> Path:
    """The local path of `source`; a hub id is downloaded first (its settings and safetensors files, nothing else).

    Raises InputError for a missing path, and if the hub cannot be reached or does not have the model.
    """
    path = Path(source).expanduser()
    if path.exists():
        return snapshot_in(path)
    if not is_of_hub(source):
        if "://" in source:
            raise InputError(f"{source}: is an address; download the file, and give its path, or a hub id OWNER/NAME")
        raise InputError(
            f"{source}: no such file or folder; expected a local path or a hub id such as OWNER/NAME or "
            "OWNER/NAME@REVISION"
        )
    return _download(source)


def snapshot_in(path: Path) -> Path:
    """The snapshot in a model's folder of the hub's cache (of its main branch, or the only one); else `path` itself.

    Raises InputError if there are several.
    """
    if not ((path / "snapshots").is_dir() and (path / "refs").is_dir()):
        return path
    found = {folder.name: folder for folder in sorted((path / "snapshots").iterdir()) if folder.is_dir()}
    main = path / "refs" / "main"
    named = main.read_text(encoding="utf-8", errors="replace").strip() if main.is_file() else ""
    if named in found:
        return found[named]
    if len(found) != 1:
        raise InputError(f"{path}: holds {len(found)} snapshots of a model of the hub; name one of snapshots/*")
    return next(iter(found.values()))


def is_of_hub(source: str) -> bool:
    """Whether `source` names a model on the hub: it looks like an id, and not like a path on this machine."""
    path = Path(source).expanduser()
    known = path.exists() or (path.parent != Path() and path.parent.is_dir())
    return is_hub_id(source) and not known


def is_hub_id(source: str) -> bool:
    """Whether `source` reads as OWNER/NAME, with a revision or not."""
    return parts_of(source) is not None


def parts_of(source: str) -> tuple[str, str | None] | None:
    """OWNER/NAME and the revision, if any, of a hub id: OWNER/NAME, OWNER/NAME@REVISION, hf-hub:OWNER/NAME or its page.

    None if it is none.
    """
    found = _ID.fullmatch(source.rstrip("/") if "://" in source else source)  # else a slash ends a local path
    return None if found is None or found[1].endswith(_SUFFIXES) else (found[1], found[2])


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
            f"{repo}: has no {SINGLE} in {folder}; only safetensors files are downloaded, and none without a network: "
            "choose a model that has them, or give a weight file of your own"
        )
    return folder


def _snapshot(source: str, patterns: Sequence[str], what: str, then: str) -> Path:
    import huggingface_hub  # takes half a second, which local weights need not wait for
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()  # they would mix with ours
    repo, revision = parts_of(source) or (source, None)
    try:
        return Path(huggingface_hub.snapshot_download(repo, revision=revision, allow_patterns=list(patterns)))
    except GatedRepoError:
        raise InputError(
            f"{repo}: its owner asks for consent; accept the terms at https://huggingface.co/{repo}, log in "
            "(hf auth login), and start again"
        ) from None
    except RevisionNotFoundError:
        raise InputError(f"{repo}: has no revision {revision}; expected a branch, a tag or a commit of it") from None
    except RepositoryNotFoundError:
        raise InputError(
            f"{repo}: neither a local path nor a public model on the hub; check the spelling, or log in"
        ) from None
    except Exception as error:  # the transport's errors share no base class across versions of the hub library
        raise InputError(
            f"{repo}: the hub cannot be reached ({type(error).__name__}); on a connected machine, download {what} from "
            f"https://huggingface.co/{repo}/tree/{revision or 'main'} into a folder, then {then}"
        ) from None
