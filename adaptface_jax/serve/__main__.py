"""Serve a run on a local web page: compare two photographs, search for a photograph.

    adaptface serve --run=runs/exp003
    adaptface serve --run=runs/exp003 --index=people.idx --far=1e-3 --port=0

Needs the extra `serve`. The page finds and aligns faces if the extra `align` is installed; without it photographs are
treated as aligned crops, and the page says so. Nothing that is sent is stored. Scripts call /embed, /verify and
/search, which /openapi.json describes:

    curl -F first=@anna.jpg -F second=@somebody.jpg http://127.0.0.1:8000/verify

Ctrl-C or SIGTERM stops it after the requests in progress; exit status 0.
"""

from __future__ import annotations

import argparse

from adaptface_jax.cli.command import run_command
from adaptface_jax.cli.model_flags import DTYPES
from adaptface_jax.cli.parser import Parser


def main(args: argparse.Namespace) -> None:
    """Check everything, open the model and the index, compile, serve."""
    from adaptface_jax.serve.work import work

    work(args)


def parser() -> Parser:
    """The command line."""
    result = Parser(__doc__ or "")
    result.add_argument("--run", required=True, metavar="WORKDIR", help="the folder of a training run")
    result.add_argument("--checkpoint", default="best", help="best, latest or a step of the run [best]")
    result.add_argument("--dtype", choices=DTYPES, help="to compute in [the run's own]")
    result.add_argument("--index", metavar="DIR", help="an index of people to search")
    limit = result.add_mutually_exclusive_group()
    limit.add_argument("--far", type=float, help="decide at this false accept rate [the smallest measured]")
    limit.add_argument("--threshold", type=float, metavar="T", help="decide at this squared distance, 0..4")
    result.add_argument("--benchmark", metavar="NAME", help="whose threshold at --far [the first]")
    result.add_argument("--results", metavar="FILE", help="thresholds of `evaluate --output` [the run's results.json]")
    result.add_argument("--host", default="127.0.0.1", help="address to listen on [127.0.0.1, this machine only]")
    result.add_argument("--port", type=int, default=8000, help="0 picks a free one [8000]")
    return result


if __name__ == "__main__":
    run_command(main, parser())
