"""Serve a run on a page of this machine: two photographs compared, a photograph searched for.

    adaptface serve --run=runs/exp003
    adaptface serve --run=runs/exp003 --index=people.idx --far=1e-3 --port=0

Needs the extra `serve`. The page finds and aligns faces where the extra `align` is installed; without it photographs
are taken as aligned crops, and the page says so. Nothing that is sent is kept. Scripts ask /embed, /verify and /search,
which /openapi.json describes:

    curl -F first=@anna.jpg -F second=@somebody.jpg http://127.0.0.1:8000/verify

Ctrl-C or SIGTERM ends it, after what is being answered; exit status 0.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from adaptface_jax.api.open_model import DTYPES, open_model
from adaptface_jax.api.rule import choose_rule, known_rules
from adaptface_jax.cli.command import run_command
from adaptface_jax.cli.parser import Parser
from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import plural, shown
from adaptface_jax.training.run import RESULTS, required_record

ROWS = 2  # images of a forward pass: a pair, or one and a blank


def main(args: argparse.Namespace) -> None:
    """Check everything, open the model and the index, compile, serve."""
    try:
        import python_multipart  # noqa: F401
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"the page needs packages that are not installed ({error}); install them with: "
            "pip install 'adaptface_jax[serve]'"
        ) from None
    from adaptface_jax.serve.answers import Answers
    from adaptface_jax.serve.app import application
    from adaptface_jax.serve.server import Server, address, is_local, listening

    required_record(Path(args.run), "--run: ")
    results = Path(args.results or Path(args.run) / RESULTS)
    rule = choose_rule(results, args.far, args.benchmark, args.threshold)
    known = known_rules(results, args.benchmark)
    with listening(args.host, args.port) as listener:
        if not is_local(listener):
            print(
                f"warning: --host={shown(args.host)}: whoever reaches this machine can compare and search photographs, "
                "without a password and unencrypted",
                file=sys.stderr,
            )
        model = open_model(
            args.run, checkpoint=args.checkpoint, dtype=args.dtype, results=args.results, batch_size=ROWS
        )
        index = model.load_index(args.index, align=False) if args.index else None
        answers = Answers(model, rule, known, index)
        print("compiling", flush=True)
        answers.warm_up()
        about = answers.about()
        print(f"run: {about['model']['run']}, step {about['model']['step']}; {about['risk']}")
        if about["note"]:
            print(f"note: {about['note']}")
        if index is not None:
            print(f"index: {plural(len(index), 'person', 'people')}")
        if not about["aligns"]:
            print("photographs are taken as aligned crops (pip install 'adaptface_jax[align]' finds faces)")
        print(f"serving: {address(listener)} (Ctrl-C ends it)", flush=True)
        Server(application(answers, [args.host])).run(sockets=[listener])
    print("ended; nothing was kept")


def parser() -> Parser:
    """The command line."""
    result = Parser(__doc__ or "")
    result.add_argument("--run", required=True, metavar="WORKDIR", help="the folder of a training run")
    result.add_argument("--checkpoint", default="best", help="best, latest or a step of the run [best]")
    result.add_argument("--dtype", choices=DTYPES, help="to compute in [the run's own]")
    result.add_argument("--index", metavar="DIR", help="an index of people to search")
    limit = result.add_mutually_exclusive_group()
    limit.add_argument("--far", type=float, help="decide at this false accept rate [the smallest that is known]")
    limit.add_argument("--threshold", type=float, metavar="T", help="decide at this squared distance, 0..4")
    result.add_argument("--benchmark", metavar="NAME", help="whose threshold at --far [the first]")
    result.add_argument("--results", metavar="FILE", help="thresholds of `evaluate --output` [the run's results.json]")
    result.add_argument("--host", default="127.0.0.1", help="address to listen on [127.0.0.1, this machine alone]")
    result.add_argument("--port", type=int, default=8000, help="0 takes a free one [8000]")
    return result


if __name__ == "__main__":
    run_command(main, parser())
