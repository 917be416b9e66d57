# SPDX-License-Identifier: Apache-2.0
"""The kind of a file by its first bytes and, for kinds without readable weights, what to do instead."""

from __future__ import annotations

from collections.abc import Collection

from adaptface_jax.core.mistaken import mistaken_for

# torch before 1.6 began its files with its own pickled magic number.
_LEGACY_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_RESAVE = "save it again with a newer torch: torch.save(torch.load(FILE, weights_only=True), NEW_FILE)"

_BEGINNINGS = (
    (_LEGACY_TORCH, f"was written in the format of torch before 1.6; {_RESAVE}"),
    (b"\x80", f"is a bare pickle, not a torch archive; {_RESAVE}"),
    (b"PK\5\6", "is an empty zip file; download it again"),
    (b"\x89HDF\r\n\x1a\n", "is an HDF5 file (Keras?); get the .safetensors or .pth file of the model instead"),
    (b"\x93NUMPY", "is a single NumPy array; get the .safetensors or .pth file of the model instead"),
    (b"GGUF", "is a GGUF file; get the .safetensors or .pth file of the model instead"),
)
# A file or folder that gives away the kind of a folder without readable weights.
_FOLDERS = {
    ".metadata": (
        "is a checkpoint of torch.distributed; make one file of it: "
        "python -m torch.distributed.checkpoint.format_utils dcp_to_torch FOLDER FILE.pth"
    ),
    "zero_to_fp32.py": "is a checkpoint of DeepSpeed; run its zero_to_fp32.py and give what that writes",
    **dict.fromkeys(
        ("_CHECKPOINT_METADATA", "_METADATA", "manifest.ocdbt"),
        "is an Orbax checkpoint; save its arrays as .safetensors, named as in the published weights",
    ),
    "saved_model.pb": "is a TensorFlow model; get the .safetensors or .pth file of the model instead",
}


def unreadable_folder(names: Collection[str]) -> str | None:
    """The kind of a folder that holds these names, if it is known to hold no readable weights."""
    return next((meaning for name, meaning in _FOLDERS.items() if name in names), None)


def is_zip(head: bytes) -> bool:
    """Whether a file starts like a torch archive."""
    return head.startswith(b"PK\3\4")


def is_safetensors(head: bytes) -> bool:
    """Whether a header follows the eight bytes for its length."""
    return head[8:9] == b"{"


def unreadable(head: bytes) -> str | None:
    """The kind of a file with these first bytes (300 or more, or all), if it is known not to be a safetensors file."""
    if is_safetensors(head):  # whatever text the length happens to spell
        return None
    for beginning, meaning in _BEGINNINGS:
        if head.startswith(beginning):
            return meaning
    if (mistaken := mistaken_for(head)) is not None:
        return mistaken
    # A protobuf message that starts with a small version number and the producer's name, or a graph.
    if head[0] == 8 and head[1:2] < b"\x20" and head[2:3] in (b"\x12", b"\x3a"):
        return "is an ONNX model; get the .safetensors or .pth file of the model instead"
    # A short map that starts with text.
    if b"\x80" < head[:1] < b"\x90" and (b"\xa0" <= head[1:2] < b"\xc0" or head[1:2] == b"\xd9"):
        return "is a msgpack file (Flax?); get the .safetensors or .pth file of the model instead"
    is_json = head.lstrip().startswith((b"{", b"["))
    return "is JSON text, not weights; give the .safetensors or .pth file, or the folder of both" if is_json else None
