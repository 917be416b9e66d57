# SPDX-License-Identifier: Apache-2.0
"""What `adaptface serve` does."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from adaptface_jax.api.open_model import open_model
from adaptface_jax.api.rule import choose_rule, known_rules
from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import plural, shown
from adaptface_jax.training.run import RESULTS, required_record

ROWS = 2  # images of a forward pass: a pair, or one and a blank


def work(args: argparse.Namespace) -> None:
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
                f"warning: --host={shown(args.host)}: anyone who reaches this machine can compare and search "
                "photographs, without a password and unencrypted",
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
            print(f"index: {plural(len(index), 'person')}")
        if not about["aligns"]:
            print("photographs are treated as aligned crops (pip install 'adaptface_jax[align]' finds faces)")
        print(f"serving: {address(listener)} (Ctrl-C stops it)", flush=True)
        Server(application(answers, [args.host])).run(sockets=[listener])
    print("stopped; nothing was stored")
