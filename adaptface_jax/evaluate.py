"""Verify a trained run, or a frozen backbone, on benchmarks; or search people in a gallery.

    adaptface evaluate --run=runs/exp003 --benchmark lfw=/data/lfw.bin --output=lfw.json
    adaptface evaluate --backbone=weights/dinov2_small --benchmark lfw=/data/lfw --scores=lfw.npz
    adaptface evaluate --run=runs/exp003 --ijb=/data/IJBC
    adaptface evaluate --run=runs/exp003 --gallery=/data/known --probes=/data/seen

A benchmark is an InsightFace .bin pack, a folder with pairs.txt, pairs.csv, CFP's Protocol or RFW's txts, FOLDER:LIST,
or a list of its own. With groups of pairs (RFW, the column domain) the rates of each stand at one threshold. With
conditions of its images (domain1,domain2 in the list, or labels.csv in the
folder by the run's data.domains) the report also goes condition by condition.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from adaptface_jax.align.benchmark_images import look_at
from adaptface_jax.align.geometry import TEMPLATE, similarity, warp
from adaptface_jax.api.open_model import open_from_flags
from adaptface_jax.cli.command import run_command
from adaptface_jax.cli.model_flags import add_model_flags
from adaptface_jax.cli.parser import Parser, named_paths
from adaptface_jax.core.errors import InputError
from adaptface_jax.core.files import write_text
from adaptface_jax.core.json_io import to_json
from adaptface_jax.core.text import plural
from adaptface_jax.data.benchmarks.benchmark import Benchmark
from adaptface_jax.data.benchmarks.from_path import open_benchmark
from adaptface_jax.data.benchmarks.ijb import Cropped, open_ijb
from adaptface_jax.data.benchmarks.pair_list import Files
from adaptface_jax.data.joined import Joined
from adaptface_jax.data.record import Images
from adaptface_jax.data.sources.folders import FolderSource
from adaptface_jax.evaluation.embedding import Embeddings
from adaptface_jax.evaluation.evaluator import evaluate
from adaptface_jax.evaluation.folds import folds_line
from adaptface_jax.evaluation.groups import group_reports
from adaptface_jax.evaluation.identification import UNKNOWN, Identification, identify
from adaptface_jax.evaluation.markdown import benchmark_table, conditions_table
from adaptface_jax.evaluation.pair_scores import write_scores
from adaptface_jax.evaluation.templates import score_templates, unscored_line
from adaptface_jax.training.recognition.run import recognition_config
from adaptface_jax.training.run import required_record

# Images and their keys to embeddings.
Embed = Callable[[Any, Any], Embeddings]


def main(args: argparse.Namespace) -> None:
    """Open what is asked for and the model, score, print and write the JSON."""
    check(args)
    domains = domains_of(Path(args.run)) if args.run else ""
    benchmarks = {name: open_benchmark(path, domains) for name, path in named_paths(args.benchmark).items()}
    templates = {Path(os.path.abspath(path)).name.lower(): open_ijb(Path(path)) for path in args.ijb}
    people = [FolderSource(Path(path)) for path in (args.gallery, args.probes) if path]
    lines = [line for name, benchmark in benchmarks.items() for line in benchmark_lines(name, benchmark)]
    lines += [f"{name}: {line}" for name, listed in templates.items() if (line := unscored_line(listed))]
    for line in lines:
        print(line, flush=True)
    sets = [
        *(benchmark.images for benchmark in benchmarks.values()),
        *(Cropped(benchmark, crop) for benchmark in templates.values()),
        *map(Images, people),
    ]
    opened = open_from_flags(args, Joined(sets))
    model, embedder = opened.model, opened.embedder
    report: dict[str, Any] = {"model": opened.facts}

    def embed(images: Any, keys: Any) -> Embeddings:
        return embedder(model.frozen, model.trainable, images, not args.no_flip, keys)

    if benchmarks:
        results, scores = evaluate(embedder, model.frozen, model.trainable, benchmarks, not args.no_flip)
        report["benchmarks"] = results
        print(benchmark_table(results))
        for name, entry in results.items():
            if entry.cells:
                print(f"\n{name}, condition by condition\n\n{conditions_table(entry.cells)}")
        groups = group_reports(benchmarks, scores)
        report |= {"groups": groups} if groups else {}
        for name, judged in groups.items():
            print(f"\n{judged.text(name)}")
        if args.scores:
            write_scores(Path(args.scores), scores)
            print(f"written: {args.scores}")
    for name, benchmark in templates.items():
        found = embed(Cropped(benchmark, crop), benchmark.keys)
        scored = score_templates(found.embedding, benchmark, found.flipped)
        report.setdefault("templates", {})[name] = scored
        print(scored.line(name))
    if people:
        searched = search(embed, *people)
        report["identification"] = searched
        print(searched.line())
        for flag, source in zip(("--gallery", "--probes"), people, strict=True):
            for line in source.passed_over.lines():
                print(f"{flag}: {line}")
    if args.output:
        write_text(Path(args.output), to_json(report, indent=2) + "\n")
        print(f"written: {args.output}")


def check(args: argparse.Namespace) -> None:
    """Raise InputError for flags that ask for nothing, or for half of something."""
    if not (args.benchmark or args.ijb or args.gallery or args.probes):
        raise InputError("nothing to evaluate; give --benchmark NAME=PATH, --ijb FOLDER, or --gallery and --probes")
    if bool(args.gallery) != bool(args.probes):
        raise InputError("--gallery and --probes belong together; give both or neither")
    if args.gallery and os.path.realpath(args.gallery) == os.path.realpath(args.probes):
        raise InputError("--probes: is the gallery itself, where every probe would find its own image")
    if args.scores and not args.benchmark:
        raise InputError("--scores: keeps the scores of --benchmark, and none is given")


def benchmark_lines(name: str, benchmark: Benchmark) -> list[str]:
    """What is judged, and what is to be said of its images and of its folds, a line each."""
    pairs, images = plural(len(benchmark.issame), "pair"), plural(len(benchmark.images), "image")
    crops, folds = look_at(benchmark.images, benchmark.keys), folds_line(benchmark.fold, benchmark.issame)
    lines = [f"{benchmark.description}, {pairs} of {images}"]
    lines += [f"{crops.what}; {crops.advice}" if crops.advice else crops.what] + ([folds] if folds else [])
    return [f"{name}: {line}" for line in lines]


def domains_of(workdir: Path) -> str:
    """The setting `data.domains` of a run; raises InputError where the folder holds no face training."""
    return recognition_config(workdir, required_record(workdir, "--run: ")).data.domains


def crop(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The face at five landmarks, as the published crops have it."""
    return warp(image, similarity(points, TEMPLATE))


def search(embed: Embed, gallery: FolderSource, probes: FolderSource) -> Identification:
    """Every image of the folders of people `probes`, searched among the people of `gallery`."""
    paths = [str(source.folder / source.key(number)) for source in (gallery, probes) for number in range(len(source))]
    found = embed(Files(paths), paths)
    rows = found.embedding if found.flipped is None else found.embedding + found.flipped
    number = {name: place for place, name in enumerate(gallery.class_names)}
    person = np.array([number.get(name, UNKNOWN) for name in probes.class_names])[probes.labels]
    return identify(rows[: len(gallery)], gallery.labels, rows[len(gallery) :], person)


def parser() -> Parser:
    """The command line."""
    result = Parser(__doc__ or "")
    add_model_flags(result)
    result.add_argument("--benchmark", action="append", default=[], metavar="NAME=PATH", help="verify; repeatable")
    result.add_argument("--ijb", action="append", default=[], metavar="FOLDER", help="IJB-B or IJB-C 1:1; repeatable")
    result.add_argument("--gallery", metavar="FOLDER", help="a folder a person, with the images that are known")
    result.add_argument("--probes", metavar="FOLDER", help="the same, with the images to search for")
    result.add_argument("--output", metavar="FILE.json", help="write the figures here")
    result.add_argument("--scores", metavar="FILE.npz", help="write distance and decision of every pair here")
    result.add_argument("--no_flip", action="store_true", help="without the mirror images")
    return result


if __name__ == "__main__":
    run_command(main, parser())
