"""The flags of every training command."""

from __future__ import annotations

from adaptface_jax.cli.outputs import output_folder
from adaptface_jax.cli.parser import Parser
from adaptface_jax.core.flag_values import whole_number
from adaptface_jax.distributed.flags import add_process_flags


def add_training_flags(parser: Parser, workdir_required: bool = True) -> None:
    """The flags of every training command."""
    parser.add_argument(
        "--workdir",
        type=output_folder,
        required=workdir_required,
        metavar="DIR",
        help="the run's folder; an existing run is resumed",
    )
    parser.add_argument(
        "--override_resume", action="store_true", help="resume with changed settings that do no harm (epochs, logging)"
    )
    parser.add_argument(
        "--overfit_small",
        type=whole_number(),
        metavar="N",
        help="overfit N images, without augmentation and decay: a valid model's loss goes to 0",
    )
    parser.add_argument(
        "--profile", type=whole_number(), default=0, metavar="N", help="trace N steps, for TensorBoard and Perfetto"
    )
    add_process_flags(parser)
    parser.add_argument("--dry_run", action="store_true", help="check everything, print the header and stop")
