"""What `adaptface init` does."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from adaptface_jax.checks.terminal import Report
from adaptface_jax.config.starter import rule_lines
from adaptface_jax.core.errors import InputError
from adaptface_jax.core.files import write_text
from adaptface_jax.core.text import shown
from adaptface_jax.init.look import People, look
from adaptface_jax.init.proposal import Proposal


def work(args: argparse.Namespace) -> None:
    """Inspect, propose, write the config file if one is requested."""
    folder = os.path.normpath(args.folder)
    into = os.path.normpath(args.into or os.path.join("runs", Path(folder).resolve().name))
    people = look(folder)
    proposal = Proposal(people, into)
    if args.out:
        write_config(Path(args.out), proposal.config_file())
    Report().section(people.section)
    print("\n".join([*people.source.skipped_files.lines(), "", *rule_lines(proposal.training_images, proposal.held)]))
    if args.out:
        print(f"written: {shown(args.out)}")
    print("\nThe commands, in order:\n")
    print("\n\n".join(step.text() for step in proposal.steps(args.out)))
    print("\n" + "\n".join(remarks(people, proposal)))


def write_config(path: Path, text: str) -> None:
    """Raises InputError if the file exists with other content."""
    if path.suffix != ".py":
        raise InputError(f"--out: {shown(str(path))} does not end in .py; expected a config file, e.g. mine.py")
    if path.exists() and path.read_text(encoding="utf-8", errors="replace") != text:
        raise InputError(f"--out: {shown(str(path))} exists with other content; choose another name, or move it")
    write_text(path, text)


def remarks(people: People, proposal: Proposal) -> list[str]:
    """Further options, one line each."""
    lines = []
    if people.table is None or people.photographs:
        lines.append(
            f"By pose and light: adaptface annotate {proposal.faces} --out={proposal.faces}/labels.csv, then "
            f"adaptface init {proposal.faces}"
        )
    elif people.conditions:
        lines.append(
            f"The report has results by {people.conditions}; --config=small_faces_conditions trains an expert for each"
        )
    lines.append("The packaged backbone is small; for DINOv2 and CLIP see the handbook, Your own faces")
    return lines
