"""`adaptface convert` under its former name."""

from adaptface_jax.cli.command import run_command
from adaptface_jax.convert.__main__ import main, parser

if __name__ == "__main__":
    run_command(main, parser())
