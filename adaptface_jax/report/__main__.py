"""Make pages of runs: one for each, and one over all of them.

    adaptface report runs/exp001 runs/exp003 --out=report

Open report/index.html: the runs side by side, their curves over each other, and for each benchmark that two runs share
whether their difference is real. A run that is not finished is shown as far as it is.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from adaptface_jax.checks.run.records import read_run
from adaptface_jax.cli.command import run_command
from adaptface_jax.cli.parser import Parser
from adaptface_jax.core.errors import InputError
from adaptface_jax.core.files import write_text
from adaptface_jax.report.comparison import FILE, comparison_page
from adaptface_jax.report.run_page import run_page


def main(args: argparse.Namespace) -> None:
    """Read every run, make every page, then write them."""
    out = Path(args.out)
    if out.exists() and not out.is_dir():
        raise InputError(f"--out: {out} is a file; expected a folder")
    named = names([Path(run) for run in args.runs])
    found = {name: read_run(workdir, "") for name, workdir in named.items()}
    links = {name: f"{name}.html" for name in found}
    pages = {links[name]: run_page(run, FILE) for name, run in found.items()}
    pages[FILE] = comparison_page(found, links)
    for name, text in pages.items():
        write_text(out / name, text)
    print(f"written: {out / FILE}, and a page for each of {len(found)} run{'s' if len(found) != 1 else ''}")


def names(workdirs: Sequence[Path]) -> dict[str, Path]:
    """A name for each run: its folder's, with as many folders above it as tell it from the others.

    Raises InputError where a folder is given twice.
    """
    whole = [workdir.resolve() for workdir in workdirs]
    for i, path in enumerate(whole):
        if path in whole[:i]:
            raise InputError(f"{workdirs[i]}: is given twice; name each run once")
    result = {}
    for workdir, path in zip(workdirs, whole, strict=True):
        parts = path.parts[1:]
        depth = next(
            (n for n in range(1, len(parts)) if sum(other.parts[-n:] == parts[-n:] for other in whole) == 1), len(parts)
        )
        name = "-".join(parts[-depth:])
        # A run may not take the place of the page over all of them.
        result[f"{name}-run" if name == Path(FILE).stem else name] = workdir
    return result


def parser() -> Parser:
    """The command line."""
    result = Parser(__doc__ or "")
    result.add_argument("runs", nargs="+", metavar="RUN", help="the folder of a finished or running training")
    result.add_argument("--out", required=True, metavar="DIR", help="where the pages go")
    return result


if __name__ == "__main__":
    run_command(main, parser())
