"""Who is this? Search photographs among the people of an index.

    adaptface identify --run=runs/exp003 --people=known/ --index=people.idx
    adaptface identify --index=people.idx photos/ somebody.jpg
    adaptface identify --index=people.idx photos/ --far=1e-4 --output=found.csv

--people makes the index of a folder with a folder for each person, and --index keeps it (without --people, it is read;
the model that made it is then opened by itself); images of them that cannot be read, or show no face, are left out and
named. Photographs are files and folders, at any depth. Those of 112x112 pixels, or of the size at which the run was
trained, are taken as aligned crops; of all others the extra `align` finds and aligns the largest face, and that face
alone is searched. Known is who comes first below the threshold: that of --far, as the run measured it on its benchmark
between two images, or your own.

Exit status: 0 every photograph was searched, whoever was found; 1 some could not be (they are listed, and why); 2 bad
input; 130 interrupted.
"""

from __future__ import annotations

import argparse

from adaptface_jax.cli.command import run_command
from adaptface_jax.cli.model_flags import add_model_flags
from adaptface_jax.cli.outputs import output_file
from adaptface_jax.cli.parser import Parser
from adaptface_jax.core.errors import InputError


def main(args: argparse.Namespace) -> None:
    """Open the model and the index, search every photograph, say and write who was found."""
    if not (args.people or args.index):
        raise InputError("--index: names the index to search; make one of a folder of people with --people and --run")
    from adaptface_jax.identify.work import work

    work(args)


def parser() -> Parser:
    """The command line."""
    result = Parser(__doc__ or "")
    result.add_argument("photographs", nargs="*", metavar="PHOTO|FOLDER", help="what to search")
    add_model_flags(result, batch_size=64, required=False)
    result.add_argument("--index", metavar="FOLDER", help="the index to search, or to keep with --people")
    result.add_argument("--people", metavar="FOLDER", help="make the index of these people, a folder each")
    result.add_argument("--overwrite", action="store_true", help="with --people: an older --index gives way")
    result.add_argument("--top", type=int, default=3, metavar="N", help="people to name for each photograph [3]")
    limit = result.add_mutually_exclusive_group()
    limit.add_argument("--far", type=float, help="known at this false accept rate [the smallest that is known]")
    limit.add_argument("--threshold", type=float, metavar="T", help="known below this squared distance, 0..4")
    result.add_argument("--benchmark", metavar="NAME", help="whose threshold at --far [the first]")
    result.add_argument("--results", metavar="FILE", help="thresholds of `evaluate --output` [the run's results.json]")
    result.add_argument("--output", type=output_file, metavar="FILE", help="write the list here, .csv or .json")
    result.add_argument("--sheet", type=output_file, metavar="FILE.jpg", help="and a picture of the first 200")
    return result


if __name__ == "__main__":
    run_command(main, parser())
