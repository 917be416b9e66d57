"""Verify two photographs: are they of one person?

    python -m adaptface_jax.verify --run=runs/exp003 anna.jpg somebody.jpg --far=1e-3
    python -m adaptface_jax.verify --backbone=weights/dinov2_small anna.jpg somebody.jpg --threshold=1.2

Photographs of 112x112 pixels are taken as aligned crops; all others need the extra `align`, which finds the largest
face and aligns it by five landmarks. They are one person where the squared distance of their unit embeddings (0..4) is
below a threshold: that of --far, as the run measured it on its benchmark, or your own.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
from pathlib import Path

import numpy as np

from adaptface_jax.align.crop import Aligner
from adaptface_jax.align.geometry import CROP_SIZE
from adaptface_jax.cli.command import run_command
from adaptface_jax.cli.model_flags import add_subject, open_subject
from adaptface_jax.cli.parser import Parser
from adaptface_jax.core.errors import InputError
from adaptface_jax.core.files import write_text
from adaptface_jax.core.json_io import to_json
from adaptface_jax.core.text import shown
from adaptface_jax.data.decode import decode
from adaptface_jax.data.image_files import read_file
from adaptface_jax.distributed.mesh import make_mesh
from adaptface_jax.evaluation.distances import pair_distances
from adaptface_jax.evaluation.embedding import Embedder
from adaptface_jax.evaluation.results import RESULTS, BenchmarkResults, Results, read_results
from adaptface_jax.evaluation.thresholds import Threshold, choose_threshold, stored_results

BAR = 20  # characters of a gate at 100%


@dataclasses.dataclass(frozen=True)
class Photograph:
    """image: uint8 [112, 112, 3]. faces: how many were found, None where the file is a crop already."""

    path: str
    image: np.ndarray
    faces: int | None

    def __str__(self) -> str:
        if self.faces is None:
            return f"{shown(self.path)}: {CROP_SIZE}x{CROP_SIZE}, taken as an aligned crop"
        return f"{shown(self.path)}: aligned" + (f", the largest of {self.faces} faces" if self.faces > 1 else "")


def main(args: argparse.Namespace) -> None:
    """Check the threshold and the photographs, open the model, compare, say it."""
    threshold, results = wanted_threshold(args)
    photographs = open_photographs([args.first, args.second])
    mesh = make_mesh()
    model, facts = open_subject(args, mesh)
    embedder = Embedder(model.recognizer, mesh, args.batch_size)
    flip = model.recognizer.config.eval.flip
    found = embedder(model.frozen, model.trainable, [photograph.image for photograph in photographs], flip)
    distance = float(pair_distances(found.embedding, found.flipped)[0])
    same = distance < threshold.value
    for photograph in photographs:
        print(photograph)
    print(f"similarity {1 - distance / 2:.4f} (cosine), squared distance {distance:.4f}")
    verdict, place = ("ONE PERSON", "below") if same else ("TWO PEOPLE", "not below")
    print(f"{verdict}: the distance is {place} {described(threshold)}")
    measured = results.run.steps if results and results.run else None
    if threshold.benchmark and measured is not None and measured != facts.get("step"):
        print(f"note: the threshold was measured at step {measured}, this is the checkpoint of step {facts['step']}")
    names: list[str] = []
    if found.gate is not None:
        names = gate_names(results.benchmarks if results else {}, found.gate.shape[1])
        print(gate_bars(found.gate, names, photographs))
    if args.output:
        outcome = {
            "model": facts,
            "images": [
                {"path": photograph.path, "aligned": photograph.faces is not None, "faces": photograph.faces}
                | ({} if found.gate is None else {"gates": dict(zip(names, found.gate[row].tolist(), strict=True))})
                for row, photograph in enumerate(photographs)
            ],
            "similarity": 1 - distance / 2,
            "squared_distance": distance,
            "threshold": dataclasses.asdict(threshold),
            "same": same,
        }
        write_text(Path(args.output), to_json(outcome, indent=2) + "\n")
        print(f"written: {args.output}")


def wanted_threshold(args: argparse.Namespace) -> tuple[Threshold, Results | None]:
    """The threshold that the flags name, and the stored figures where there are any."""
    path = Path(args.results) if args.results else Path(args.run) / RESULTS if args.run else None
    if args.threshold is not None:
        if not 0 <= args.threshold <= 4:
            raise InputError(f"--threshold: {args.threshold:g} is out of range; expected a squared distance in 0..4")
        if args.benchmark:
            raise InputError("--benchmark: names whose threshold is taken, and --threshold gives one; leave one out")
        return Threshold(args.threshold), read_results(path) if path and path.exists() else None
    if args.far is not None and not 0 < args.far < 1:
        raise InputError(f"--far: {args.far:g} is out of range; expected a rate such as 1e-3")
    if path is None:
        raise InputError("--backbone: no threshold is stored with it; give --threshold, or --results of an evaluation")
    results = stored_results(path)
    return choose_threshold(results.benchmarks, str(path), args.benchmark, args.far), results


def described(threshold: Threshold) -> str:
    """The threshold and where it is from."""
    if threshold.far is None:
        return f"{threshold.value:.4f}, as given"
    return f"{threshold.value:.4f}, the threshold at FAR {threshold.far} of benchmark {threshold.benchmark}"


def open_photographs(paths: list[str]) -> list[Photograph]:
    """Read, turn upright and, where they are no crops, align. Raises InputError where that cannot be done."""
    images = [decode(read_file(path), shown(path)) for path in paths]
    plain = [image.shape == (CROP_SIZE, CROP_SIZE, 3) for image in images]
    aligner = None if all(plain) else Aligner()
    photographs = []
    for path, image in zip(paths, images, strict=True):
        if aligner is None or image.shape == (CROP_SIZE, CROP_SIZE, 3):
            photographs.append(Photograph(path, image, None))
            continue
        crop = aligner(image)
        if crop is None:
            raise InputError(f"{shown(path)}: no face was found; expected a photograph of a face, or its aligned crop")
        photographs.append(Photograph(path, crop.image, crop.faces))
    return photographs


def gate_names(benchmarks: BenchmarkResults, experts: int) -> list[str]:
    """A name for each gate: the domain on whose images it is the largest, where a benchmark shows one for each."""
    for entry in benchmarks.values():
        mean = entry.gates.mean if entry.gates else {}
        largest = {int(np.argmax(gate)): name for name, gate in mean.items()}
        if len(mean) == len(largest) == experts:
            return [largest[expert] for expert in range(experts)]
    return [f"expert {expert}" for expert in range(experts)]


def gate_bars(gates: np.ndarray, names: list[str], photographs: list[Photograph]) -> str:
    """A row a gate, a column a photograph; gates: float [2, K]."""
    width = max(len(name) for name in names)
    lines = [f"gates of {' and '.join(shown(photograph.path) for photograph in photographs)}"]
    for expert, name in enumerate(names):
        cells = [f"{'█' * math.floor(BAR * gate + 0.5):{BAR}} {100 * gate:5.1f}%" for gate in gates[:, expert].tolist()]
        lines.append(f"  {name:{width}}  {'   '.join(cells)}")
    return "\n".join(lines)


def parser() -> Parser:
    """The command line."""
    result = Parser(__doc__ or "")
    add_subject(result, batch_size=2)
    result.add_argument("first", metavar="A", help="a photograph or an aligned crop")
    result.add_argument("second", metavar="B", help="another")
    limit = result.add_mutually_exclusive_group()
    limit.add_argument("--far", type=float, help="decide at this false accept rate [the smallest that is known]")
    limit.add_argument("--threshold", type=float, metavar="T", help="decide at this squared distance, 0..4")
    result.add_argument("--benchmark", metavar="NAME", help="whose threshold at --far [the first]")
    result.add_argument("--results", metavar="FILE", help="thresholds of `evaluate --output` [the run's results.json]")
    result.add_argument("--output", metavar="FILE.json", help="write the outcome here")
    return result


if __name__ == "__main__":
    run_command(main, parser())
