# SPDX-License-Identifier: Apache-2.0
"""The flags that name the model a command works on: a run's checkpoint, or a bare frozen backbone.

`api.open_model.open_from_flags` opens it.
"""

from __future__ import annotations

from adaptface_jax.cli.parser import Parser

DTYPES, FEATURES = ("auto", "float32", "bfloat16"), ("cls", "projected")


def add_model_flags(parser: Parser, batch_size: int | None = None, required: bool = True) -> None:
    """The flags that name a model; `batch_size` if the command fixes it; `required` unless something else names one."""
    which = parser.add_mutually_exclusive_group(required=required)
    which.add_argument("--run", metavar="WORKDIR", help="the folder of a training run")
    which.add_argument("--backbone", metavar="DIR", help="converted folder, local file, hub id or `builtin`")
    parser.add_argument("--checkpoint", default="best", help="best, latest or a step of the run [best]")
    parser.add_argument("--image_size", type=int, metavar="PX", help="input size of --backbone [its own; DINOv2 224]")
    parser.add_argument(
        "--stored_size",
        type=int,
        metavar="PX",
        help="size at which --backbone reads images [their own]",
    )
    parser.add_argument("--feature", choices=FEATURES, default=FEATURES[0], help="feature of --backbone [cls]")
    parser.add_argument("--dtype", choices=DTYPES, help="to compute in [the run's own; auto]")
    if batch_size is None:
        parser.add_argument("--batch_size", type=int, default=256, help="images per forward pass [256]")
    else:
        parser.set_defaults(batch_size=batch_size)
