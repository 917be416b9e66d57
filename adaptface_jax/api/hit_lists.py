# SPDX-License-Identifier: Apache-2.0
"""Search results: on the terminal, as a table, as JSON, and as a sheet of images."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from adaptface_jax.api.hits import Hit
from adaptface_jax.api.rule import Rule
from adaptface_jax.core.errors import InputError
from adaptface_jax.core.files import write_bytes, write_text
from adaptface_jax.core.json_io import to_json
from adaptface_jax.core.text import plural, shortened, shown
from adaptface_jax.evaluation.picture_sheet import Row, encoded_sheet
from adaptface_jax.evaluation.thresholds import described

LISTS = (".csv", ".json")
COLUMNS = ("image", "rank", "person", "similarity", "passes", "problem")
PICTURES = 200  # rows of a sheet at most


@dataclasses.dataclass(frozen=True)
class Searched:
    """image: a path. hits: best first. problem: why it could not be searched, or ""."""

    image: str
    hits: tuple[Hit, ...] = ()
    problem: str = ""

    @property
    def person(self) -> str | None:
        """Who it is: the best hit if that passes; None for nobody, and where nothing is decided."""
        return self.hits[0].name if self.hits and self.hits[0].same else None

    def __str__(self) -> str:
        if self.problem:
            return f"{shown(self.image)}: not searched: {self.problem}"
        first, *others = (f"{shown(hit.name)} {hit.similarity:.4f}" for hit in self.hits)
        rest = ", ".join(others)
        if self.hits[0].same is None:
            said = f"most like {first}" + (f", then {rest}" if rest else "")
        elif self.hits[0].same:
            said = first + (f" (then {rest})" if rest else "")
        else:
            said = f"unknown (most like {', '.join((first, *others))})"
        return f"{shown(self.image)}: {said}"


@dataclasses.dataclass(frozen=True)
class Search:
    """found: for each image. rule: what decided, as it applies to the model; None if `why` says why nothing did.
    people: in the gallery. where: the file the threshold is from."""

    found: Sequence[Searched]
    rule: Rule | None
    why: str | None
    people: int
    where: str | None = None

    @property
    def chance(self) -> float | None:
        """The chance that a stranger's image matches somebody; None if no FAR is known to hold."""
        return None if self.rule is None else self.rule.false_hit_chance(self.people)

    @property
    def note(self) -> str | None:
        """The rule's caveat, or why there is no rule."""
        return self.why if self.rule is None else self.rule.note

    def lines(self) -> list[str]:
        """The outcome, and the rule that decided, as text."""
        unsearched = sum(bool(one.problem) for one in self.found)
        counts = [plural(len(self.found), "image") + f" searched among {plural(self.people, 'person')}"]
        if self.rule is not None:
            known = sum(one.person is not None for one in self.found)
            counts.append(f"{known:,} known, {len(self.found) - known - unsearched:,} unknown")
        if unsearched:
            counts.append(f"{unsearched:,} not searched")
        result = [", ".join(counts)]
        if self.rule is None:
            return [*result, self.note or ""]
        place = f" ({shown(self.where)})" if self.where and self.rule.threshold.far is not None else ""
        result.append(f"known: a squared distance below {described(self.rule.threshold)}{place}")
        if self.note:
            result.append(f"note: {self.note}")
        if self.chance is not None:
            line = (
                f"among {self.people:,} about {100 * self.chance:.3g}% of strangers' images match somebody "
                "(1 - (1 - FAR)^N, as if comparisons were independent)"
            )
            result.append(line if self.chance <= 0.01 else f"{line}; for 1% choose a FAR of {0.01 / self.people:.0e}")
        return result

    def report(self) -> dict[str, Any]:
        """The same for scripts."""
        return {
            "threshold": None if self.rule is None else dataclasses.asdict(self.rule.threshold),
            "note": self.note,
            "people": self.people,
            "false_hit_chance": self.chance,
            "images": [
                {
                    "image": one.image,
                    "person": one.person,
                    "hits": [dataclasses.asdict(hit) for hit in one.hits],
                    "problem": one.problem or None,
                }
                for one in self.found
            ],
        }

    def table(self) -> bytes:
        """One row per image and person found (COLUMNS), and one per image that was not searched."""
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        for one in self.found:
            if one.problem:
                writer.writerow([one.image, "", "", "", "", one.problem])
            for rank, hit in enumerate(one.hits, 1):
                passes = "" if hit.same is None else int(hit.same)
                writer.writerow([one.image, rank, hit.name, f"{hit.similarity:.6f}", passes, ""])
        return text.getvalue().encode("utf-8", "surrogateescape")


def check_list(out: str | None, flag: str) -> None:
    """Raise InputError for a file whose format `write_list` does not know."""
    if out and Path(out).suffix.lower() not in LISTS:
        raise InputError(f"{flag}: {shown(out)} ends in neither {' nor '.join(LISTS)}; choose one of them")


def write_list(out: Path, search: Search, facts: dict[str, Any]) -> None:
    """Write a search atomically, as JSON (with `facts` about the model) or as a table, by the file's ending."""
    if out.suffix.lower() == ".csv":
        write_bytes(out, search.table())
    else:
        write_text(out, to_json({"model": facts, **search.report()}, indent=2) + "\n")


def write_hit_sheet(
    out: Path, search: Search, pictures: Callable[[int], Sequence[bytes | np.ndarray]], columns: int
) -> str:
    """Write a sheet of the first searches: each image, next to it `columns` - 1 others, and who was found.

    pictures: given an image's number, that image and the others. Returns the line to print.
    """
    places = [place for place, one in enumerate(search.found) if not one.problem]
    rows = [Row(pictures(place), _said(search.found[place])) for place in places[:PICTURES]]
    write_bytes(out, encoded_sheet(rows, columns, out.suffix))
    more = f", the first {PICTURES} of {len(places):,}" if len(places) > PICTURES else ""
    return f"written: {shown(str(out))}{more}"


def _said(one: Searched) -> str:
    verdict = {None: "most like", True: "known", False: "unknown"}[one.hits[0].same]
    names = [f"{hit.similarity:.2f} {shortened(hit.name, 40)}" for hit in one.hits[:4]]
    return "\n".join([shortened(Path(one.image).name, 44), verdict, *names])
