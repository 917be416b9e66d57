"""What `adaptface evaluate` does."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from itertools import starmap
from pathlib import Path
from typing import Any

import numpy as np

from adaptface_jax.align.benchmark_images import look_at
from adaptface_jax.align.geometry import TEMPLATE, similarity, warp
from adaptface_jax.api.folder_search import FolderSearch
from adaptface_jax.api.hit_lists import Search, check_list, write_hit_sheet, write_list
from adaptface_jax.api.open_model import open_from_flags
from adaptface_jax.api.rule import Rule, choose_rule, if_known
from adaptface_jax.cli.metrics_tables import narrow, wide
from adaptface_jax.cli.parser import named_paths
from adaptface_jax.core.errors import InputError
from adaptface_jax.core.files import write_text
from adaptface_jax.core.json_io import to_json
from adaptface_jax.core.progress import Phase
from adaptface_jax.core.text import plural, shown
from adaptface_jax.data.benchmarks.benchmark import Benchmark
from adaptface_jax.data.benchmarks.distractors import open_distractors
from adaptface_jax.data.benchmarks.from_path import open_benchmark
from adaptface_jax.data.benchmarks.ijb import Cropped, open_ijb
from adaptface_jax.data.benchmarks.tinyface import open_tinyface
from adaptface_jax.data.image_files import read_file
from adaptface_jax.data.joined import Joined
from adaptface_jax.distributed.mesh import make_mesh
from adaptface_jax.evaluation.baselines import known_frozen
from adaptface_jax.evaluation.embedding import Embedder
from adaptface_jax.evaluation.evaluator import evaluate
from adaptface_jax.evaluation.folds import check_folds, folds_line
from adaptface_jax.evaluation.groups import group_reports
from adaptface_jax.evaluation.guard import change_line
from adaptface_jax.evaluation.identification import Identification, crowd
from adaptface_jax.evaluation.pair_scores import write_scores
from adaptface_jax.evaluation.picture_sheet import check_sheet
from adaptface_jax.evaluation.recorded_searches import FILE, record_searches
from adaptface_jax.evaluation.statistics.paired_test import changes
from adaptface_jax.evaluation.template_search import search_templates
from adaptface_jax.evaluation.templates import score_templates, template_embeddings, unscored_line
from adaptface_jax.evaluation.tiny_search import search_tinyface
from adaptface_jax.training.recognition.model import before_training
from adaptface_jax.training.recognition.run import recognition_config
from adaptface_jax.training.run import RESULTS, required_record

SHOWN = 10  # probes of a gallery that are listed on the terminal


def work(args: argparse.Namespace) -> None:
    """Open the benchmarks and the model, score, print and write the JSON."""
    check(args)
    domains = domains_of(Path(args.run)) if args.run else ""
    paths = named_paths(args.benchmark)
    with Phase("opening the benchmarks", brief=True):
        benchmarks = {name: open_benchmark(path, domains) for name, path in paths.items()}
        templates = {name: open_ijb(path) for name, path in by_folder(args.ijb).items()}
        tiny = {name: open_tinyface(path) for name, path in by_folder(args.tinyface).items()}
        people = FolderSearch(Path(args.gallery), Path(args.probes)) if args.gallery else None
        others = open_distractors(args.distractors) if args.distractors else None
    if people and others and (both := sorted(others.names & people.everybody)):
        raise InputError(
            f"--distractors: {shown(both[0])} is also in the gallery or the probes ({len(both)} are); leave them out"
        )
    if not (tiny or people or any(benchmark.search for benchmark in templates.values())):
        for name in ("record", "distractors"):
            if getattr(args, name):
                raise InputError(f"--{name}: is for searches; give --ijb with 1:N lists, --tinyface, or --gallery")
    rule, why = rule_of(args)
    with Phase("checking the benchmarks' faces", brief=True):
        lines = [line for name, benchmark in benchmarks.items() for line in benchmark_lines(name, benchmark)]
    lines += [f"{name}: {line}" for name, listed in templates.items() if (line := unscored_line(listed))]
    lines += [f"{name}: {line}" for name, found in tiny.items() for line in (found.said, *found.skipped_files.lines())]
    if others:
        lines += [others.description, *(f"--distractors: {line}" for line in others.skipped_files.lines())]
    for line in lines:
        print(line, flush=True)
    sets = [
        *(benchmark.images for benchmark in benchmarks.values()),
        *(Cropped(benchmark, crop) for benchmark in templates.values()),
        *(found.images for found in tiny.values()),
        *([people.images.given] if people else []),
        *([others.images.given] if others else []),
    ]
    opened = open_from_flags(args, Joined(sets))
    model, embedder = opened.model, opened.embedder
    report: dict[str, Any] = {"model": opened.facts}
    searches: dict[str, Identification] = {}

    def embed(images: Any, keys: Any) -> np.ndarray:
        return embedder.summed(model.frozen, model.trainable, images, not args.no_flip, keys)

    if benchmarks:
        results, scores = evaluate(embedder, model.frozen, model.trainable, benchmarks, not args.no_flip)
        report["benchmarks"] = results
        frozen = known_frozen(Path(args.run), paths, not args.no_flip) if args.run else {}
        if args.before:
            mesh = make_mesh()
            old = before_training(model, mesh)
            judge = Embedder(old.recognizer, mesh, args.batch_size, old.stored_size)
            frozen, old_scores = evaluate(judge, old.frozen, old.trainable, benchmarks, not args.no_flip)
            compared = changes(old_scores, scores)
            report["before"] = {"benchmarks": frozen, "changes": compared}
        print((wide if args.wide else narrow)(results, frozen))
        if args.before:
            print("\n".join(["from the frozen model to this one:", *starmap(change_line, compared.items())]))
        groups = group_reports(benchmarks, scores)
        report |= {"groups": groups} if groups else {}
        for name, judged in groups.items():
            print(f"\n{judged.text(name)}")
        if args.scores:
            write_scores(Path(args.scores), scores)
            print(f"written: {args.scores}")
    further = crowd(*others.read(embed(others.images, others.keys))) if others else None
    for line in others.images.lines("--distractors: unreadable") if others else ():
        print(line)
    for name, benchmark in templates.items():
        rows = embed(Cropped(benchmark, crop), benchmark.keys)
        units = template_embeddings(rows, benchmark)
        if len(benchmark.pairs):
            scored = score_templates(units, benchmark)
            report.setdefault("templates", {})[name] = scored
            print(scored.line(name))
        if benchmark.search:
            searched = search_templates(units, benchmark.search, further)
            searches |= {f"{name}_{gallery}": metrics for gallery, metrics in searched.items()}
    for name, found in tiny.items():
        searches[name] = search_tinyface(embed(found.images, found.paths), found, further)
    if people:
        limit = None if rule is None else rule.threshold
        metrics, hits = people.search(embed(people.images, people.paths), further, limit)
        report["identification"] = metrics
        searches["identification"] = metrics
    for name, metrics in searches.items():
        print("\n".join(metrics.lines(name)))
    if people:
        where = results_of(args)
        rule = rule and opened.applied(rule)
        listed = Search(hits, rule, why, len(people.names), None if where is None else str(where))
        say_who(args, people, listed, opened.facts)
    if named := {name: metrics for name, metrics in searches.items() if metrics is not report.get("identification")}:
        report["searches"] = named
    if args.record:
        record_searches(Path(args.run), opened.facts["step"], searches)
        print(f"stored in {shown(str(Path(args.run) / FILE))}, which `adaptface report` and TensorBoard show")
    if args.output:
        write_text(Path(args.output), to_json(report, indent=2) + "\n")
        print(f"written: {args.output}")


def check(args: argparse.Namespace) -> None:
    """Raise InputError for flags that ask for nothing, or are incomplete."""
    if not (args.benchmark or args.ijb or args.tinyface or args.gallery or args.probes):
        raise InputError(
            "nothing to evaluate; give --benchmark NAME=PATH, --ijb or --tinyface FOLDER, or --gallery and --probes"
        )
    if bool(args.gallery) != bool(args.probes):
        raise InputError("--gallery and --probes belong together; give both or neither")
    if args.gallery and os.path.realpath(args.gallery) == os.path.realpath(args.probes):
        raise InputError("--probes: is the gallery itself, where every probe would match its own image")
    if args.scores and not args.benchmark:
        raise InputError("--scores: writes the scores of --benchmark, and none is given")
    for name in ("hits", "sheet", "far", "threshold", "results"):
        if getattr(args, name) is not None and not args.gallery:
            raise InputError(f"--{name}: is for a search of --probes in --gallery, and none is given")
    if args.before and not (args.run and args.benchmark):
        raise InputError("--before: compares a run with its frozen model on benchmarks; give --run and --benchmark")
    if args.record and not args.run:
        raise InputError("--record: stores metrics with a run; give --run")
    check_list(args.hits, "--hits")
    check_sheet(args.sheet)


def by_folder(paths: Sequence[str]) -> dict[str, Path]:
    """The names of benchmarks given only by folder; raises InputError if two are the same."""
    result: dict[str, Path] = {}
    for path in paths:
        name = Path(os.path.abspath(path)).name.lower()
        if name in result:
            raise InputError(f"{shown(path)}: another folder is also called {shown(name)}; rename one of them")
        result[name] = Path(path)
    return result


def results_of(args: argparse.Namespace) -> Path | None:
    """The file that thresholds are read from."""
    return Path(args.results) if args.results else Path(args.run) / RESULTS if args.run else None


def rule_of(args: argparse.Namespace) -> tuple[Rule | None, str | None]:
    """The rule that decides on the probes of a gallery, or why there is none."""
    asked = (args.far, args.threshold, args.results) != (None, None, None)
    return if_known(lambda: choose_rule(results_of(args), args.far, None, args.threshold), asked)


def say_who(args: argparse.Namespace, people: FolderSearch, search: Search, facts: dict[str, Any]) -> None:
    """Print who was found in the first probes, and write the requested files for all."""
    for one in search.found[:SHOWN]:
        print(one)
    if len(search.found) > SHOWN:
        print(
            f"... and {len(search.found) - SHOWN:,} more probes" + ("" if args.hits else "; --hits=FILE.csv lists all")
        )
    print("\n".join(search.lines()))
    if args.hits:
        write_list(Path(args.hits), search, facts)
        print(f"written: {shown(args.hits)}")
    if args.sheet:

        def pictures(place: int) -> list[bytes]:
            one = search.found[place]
            return [read_file(path) for path in (one.image, *(people.first_image(hit.name) for hit in one.hits[:3]))]

        print(write_hit_sheet(Path(args.sheet), search, pictures, 4))
    for line in people.images.lines():
        print(line)
    for flag, source in (("--gallery", people.gallery), ("--probes", people.probes)):
        for line in source.skipped_files.lines():
            print(f"{flag}: {line}")


def benchmark_lines(name: str, benchmark: Benchmark) -> list[str]:
    """What is evaluated, with notes on its images and folds, a line each."""
    pairs, images = plural(len(benchmark.issame), "pair"), plural(len(benchmark.images), "image")
    check_folds(name, benchmark.fold, benchmark.issame)
    crops, folds = look_at(benchmark.images, benchmark.keys), folds_line(benchmark.fold, benchmark.issame)
    lines = [f"{benchmark.description}, {pairs} of {images}"]
    lines += [f"{crops.what}; {crops.advice}" if crops.advice else crops.what] + ([folds] if folds else [])
    return [f"{name}: {line}" for line in lines]


def domains_of(workdir: Path) -> str:
    """The setting `data.domains` of a run; raises InputError if the folder holds no face training."""
    return recognition_config(workdir, required_record(workdir, "--run: ")).data.domains


def crop(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The face cropped by five landmarks, as in the published crops."""
    return warp(image, similarity(points, TEMPLATE))
