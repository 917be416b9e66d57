"""Verify a trained run, or a frozen backbone, on benchmarks.

python -m adaptface_jax.evaluate --run=runs/exp003 --benchmark lfw=/data/lfw.bin --output=lfw.json
python -m adaptface_jax.evaluate --backbone=weights/dinov2_small --benchmark lfw=/data/lfw.bin
"""

from __future__ import annotations

import argparse
from pathlib import Path

from adaptface_jax import cli
from adaptface_jax.data.sources.opening import open_benchmark
from adaptface_jax.evaluation.benchmarks import evaluate
from adaptface_jax.evaluation.embedding import Embedder
from adaptface_jax.evaluation.results import benchmark_table
from adaptface_jax.files import to_json, write_text
from adaptface_jax.partition import make_mesh
from adaptface_jax.subject import add_subject, open_subject


def main(args: argparse.Namespace) -> None:
    """Open the benchmarks and the model, score, print a table and write the JSON."""
    benchmarks = {name: open_benchmark(path) for name, path in cli.named_paths(args.benchmark).items()}
    mesh = make_mesh()
    model, facts = open_subject(args, mesh)
    embedder = Embedder(model.recognizer, mesh, args.batch_size)
    results = evaluate(embedder, model.frozen, model.trainable, benchmarks, not args.no_flip)
    print(benchmark_table(results))
    if args.output:
        write_text(Path(args.output), to_json({"model": facts, "benchmarks": results}, indent=2) + "\n")
        print(f"written: {args.output}")


def parser() -> cli.Parser:
    """The command line."""
    result = cli.Parser(__doc__ or "")
    add_subject(result)
    result.add_argument("--benchmark", action="append", required=True, metavar="NAME=PATH", help="repeatable")
    result.add_argument("--output", metavar="FILE.json", help="write the figures here")
    result.add_argument("--no_flip", action="store_true", help="without the mirror images")
    return result


if __name__ == "__main__":
    cli.run(main, parser())
