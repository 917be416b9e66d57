"""Who is this? Search photographs among the people of an index.

    adaptface identify --run=runs/exp003 --people=known/ --index=people.idx
    adaptface identify --index=people.idx photos/ somebody.jpg
    adaptface identify --index=people.idx photos/ --far=1e-4 --output=found.csv

--people builds the index from a folder with one folder per person, and --index stores it (without --people, it is read,
and the model that made it is opened automatically); images that cannot be read, or show no face, are left out and
listed. Photographs are files and folders, at any depth. Those of 112x112 pixels, or of the run's training size, are
treated as aligned crops; in all others the extra `align` finds and aligns the largest face, and only that face is
searched. A face is known if its best match is below the threshold: that of --far, as the run measured it between two
images of its benchmark, or your own.

Exit status: 0 every photograph was searched, whoever was found; 1 some could not be (they are listed, with the reason);
2 bad input; 130 interrupted.
"""

from __future__ import annotations

import argparse

from adaptface_jax.cli.command import run_command
from adaptface_jax.cli.model_flags import add_model_flags
from adaptface_jax.cli.outputs import output_file
from adaptface_jax.cli.parser import Parser
from adaptface_jax.core.errors import InputError


def main(args: argparse.Namespace) -> None:
    """Open the model and the index, search every photograph, print and write who was found."""
    if not (args.people or args.index):
        raise InputError("--index: names the index to search; build one from a folder with --people and --run")
    from adaptface_jax.identify.work import work

    work(args)


def parser() -> Parser:
    """The command line."""
    result = Parser(__doc__ or "")
    result.add_argument("photographs", nargs="*", metavar="PHOTO|FOLDER", help="what to search")
    add_model_flags(result, batch_size=64, required=False)
    result.add_argument("--index", metavar="FOLDER", help="the index to search, or to store with --people")
    result.add_argument("--people", metavar="FOLDER", help="build the index from these people, one folder each")
    result.add_argument("--overwrite", action="store_true", help="with --people: replace an older --index")
    result.add_argument("--top", type=int, default=3, metavar="N", help="people to name for each photograph [3]")
    limit = result.add_mutually_exclusive_group()
    limit.add_argument("--far", type=float, help="known at this false accept rate [the smallest measured]")
    limit.add_argument("--threshold", type=float, metavar="T", help="known below this squared distance, 0..4")
    result.add_argument("--benchmark", metavar="NAME", help="whose threshold at --far [the first]")
    result.add_argument("--results", metavar="FILE", help="thresholds of `evaluate --output` [the run's results.json]")
    result.add_argument("--output", type=output_file, metavar="FILE", help="write the list here, .csv or .json")
    result.add_argument("--sheet", type=output_file, metavar="FILE.jpg", help="and an image sheet of the first 200")
    return result


if __name__ == "__main__":
    run_command(main, parser())
