# SPDX-License-Identifier: Apache-2.0
"""Verify a trained run, or a frozen backbone, on benchmarks; or search people in a gallery.

    adaptface evaluate --run=runs/exp003 --benchmark lfw=/data/lfw.bin --output=lfw.json
    adaptface evaluate --run=runs/exp003 --benchmark lfw=/data/lfw.bin --before
    adaptface evaluate --backbone=weights/dinov2_small --benchmark lfw=/data/lfw --scores=lfw.npz
    adaptface evaluate --run=runs/exp003 --ijb=/data/IJBC --tinyface=/data/tinyface --record
    adaptface evaluate --run=runs/exp003 --gallery=/data/known --probes=/data/seen --distractors=/data/others

A benchmark is an InsightFace .bin pack, a folder with a list of pairs, CFP's Protocol or RFW's txts, FOLDER:LIST, or a
list by itself. With groups of pairs (RFW, the column domain) each group's rates are reported at one threshold.
With conditions of its images (domain1,domain2 in the list, or labels.csv in the folder by the run's data.domains) the
report also goes condition by condition.

Searches (IJB's 1:N lists, TinyFace, a gallery and probes) give rank, mAP and TPIR at FPIR; --distractors adds people to
their galleries. --hits lists who was found in each probe, decided by the threshold at --far or --threshold.
"""

from __future__ import annotations

import argparse

from adaptface_jax.cli.command import run_command
from adaptface_jax.cli.model_flags import add_model_flags
from adaptface_jax.cli.outputs import output_file
from adaptface_jax.cli.parser import Parser


def main(args: argparse.Namespace) -> None:
    """Open the benchmarks and the model, score, print and write the JSON."""
    from adaptface_jax.evaluate.work import work

    work(args)


def parser() -> Parser:
    """The command line."""
    result = Parser(__doc__ or "")
    add_model_flags(result)
    result.add_argument("--benchmark", action="append", default=[], metavar="NAME=PATH", help="verify; repeatable")
    result.add_argument(
        "--ijb", action="append", default=[], metavar="FOLDER", help="IJB-B or IJB-C, 1:1 and 1:N; repeatable"
    )
    result.add_argument("--tinyface", action="append", default=[], metavar="FOLDER", help="TinyFace; repeatable")
    result.add_argument("--gallery", metavar="FOLDER", help="one folder per person, with the known images")
    result.add_argument("--probes", metavar="FOLDER", help="the same, with the images to search for")
    result.add_argument(
        "--distractors", metavar="PATH", help="more people for every gallery: what data.train accepts, or loose images"
    )
    limit = result.add_mutually_exclusive_group()
    limit.add_argument("--far", type=float, help="decide on probes at this false accept rate [the smallest measured]")
    limit.add_argument("--threshold", type=float, metavar="T", help="decide on probes at this squared distance, 0..4")
    result.add_argument("--results", metavar="FILE", help="thresholds of `evaluate --output` [the run's results.json]")
    result.add_argument("--hits", type=output_file, metavar="FILE", help="who was found in each probe, .csv or .json")
    result.add_argument("--sheet", type=output_file, metavar="FILE.jpg", help="and an image sheet of the first 200")
    result.add_argument("--record", action="store_true", help="store the search metrics with --run")
    result.add_argument("--output", type=output_file, metavar="FILE.json", help="write the metrics here")
    result.add_argument(
        "--scores", type=output_file, metavar="FILE.npz", help="write distance and decision of every pair here"
    )
    result.add_argument(
        "--before", action="store_true", help="also evaluate the frozen model of --run, and test what changed"
    )
    result.add_argument("--wide", action="store_true", help="every metric, in a table wider than most terminals")
    result.add_argument("--no_flip", action="store_true", help="without the mirror images")
    return result


if __name__ == "__main__":
    run_command(main, parser())
