"""Upload an exported folder to a repository on the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path

from adaptface_jax.core.errors import InputError


def check_repository(repo: str) -> None:
    """Raise InputError if `repo` is not a valid repository name."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(repo)
    except HFValidationError:
        raise InputError(f"--push_to_hub: {repo!r} is not a repository on the hub; expected OWNER/NAME") from None


def push(folder: Path, repo: str) -> str:
    """Upload `folder` to the model repository `repo`, created (private) if it does not exist; its URL.

    The token is from HF_TOKEN or `hf auth login`, the hub from HF_ENDPOINT. Raises InputError without a token,
    where the hub cannot be reached, and where it refuses; the folder stays as it is.
    """
    import huggingface_hub
    from huggingface_hub.utils.tqdm import disable_progress_bars

    again = f"{folder} is written; upload it later with: hf upload {repo} {folder}"
    if huggingface_hub.get_token() is None:
        raise InputError(
            f"--push_to_hub: there is no token for the hub; log in with `hf auth login` or set HF_TOKEN; {again}"
        )
    disable_progress_bars()  # their lines would mix with ours
    hub = huggingface_hub.HfApi()
    try:
        address = hub.create_repo(repo, private=True, exist_ok=True)
        hub.upload_folder(repo_id=address.repo_id, folder_path=folder, commit_message=f"Export of {folder.name}")
    except Exception as error:  # transport errors share no base class across versions of the hub library
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status is None:
            reason = f"the hub cannot be reached ({type(error).__name__})"
        elif status in (401, 403, 404):
            reason = f"the token may not write to {repo} (status {status}); use one that may, or name your own"
        else:
            reason = f"the hub refuses {repo} (status {status})"
        raise InputError(f"--push_to_hub: {reason}; {again}") from None
    return str(address)
