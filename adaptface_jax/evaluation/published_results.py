"""Published results on the five benchmarks, and which of a run's results are comparable with them.

LFW, CFP-FP, AgeDB-30, CALFW and CPLFW, in percent. An average is over all five and compared only with such averages.
"""

from __future__ import annotations

import dataclasses

from adaptface_jax.evaluation.results import BenchmarkResult, BenchmarkResults

# In the order of the usual tables: key -> (name, category).
FIVE = {
    "lfw": ("LFW", "general"),
    "cfpfp": ("CFP-FP", "pose"),
    "agedb30": ("AgeDB-30", "age"),
    "calfw": ("CALFW", "age"),
    "cplfw": ("CPLFW", "pose"),
}
CATEGORIES = ("general", "pose", "age")


@dataclasses.dataclass(frozen=True)
class Published:
    """One row of a published table: percent per benchmark, in the order of FIVE, or the average only."""

    name: str
    source: str
    average: float
    accuracies: tuple[float, ...] = ()
    trainable: int | None = None
    note: str = ""


ORIGINAL = "this project's original, PyTorch, CASIA-WebFace"
FROUNDATION = "FRoundation, arXiv 2410.23831"
ADAFACE = "AdaFace, arXiv 2204.00964"
KPRPE = "KPRPE, arXiv 2403.14852"

PUBLISHED = (
    Published(
        "DINOv2 ViT-S/14 + LoRA (EXP-001)", ORIGINAL, 70.50, (90.45, 71.81, 52.30, 69.27, 68.67), 865_664,
        "an AUC below 0.5 on AgeDB-30 points to a broken pair list",
    ),
    Published(
        "DINOv2 ViT-S/14 + DA-LoRA, K = 3 (EXP-003)", ORIGINAL, 70.73, (89.50, 72.73, 54.17, 68.45, 68.82), 1_849_731
    ),
    Published("DINOv2 ViT-S, frozen", FROUNDATION, 64.70),
    Published("DINOv2 ViT-S + LoRA, 1K identities", FROUNDATION, 87.10),
    Published("DINOv2 ViT-S + LoRA, 2.5K identities", FROUNDATION, 88.91),
    Published("DINOv2 ViT-S + LoRA, 5K identities", FROUNDATION, 90.15),
    Published("DINOv2 ViT-S + LoRA, 10K identities", FROUNDATION, 90.94),
    Published("ViT-S from scratch, 1K identities", FROUNDATION, 69.96),
    Published("ViT-S from scratch, 10K identities", FROUNDATION, 88.55),
    Published("CLIP B/16, frozen", FROUNDATION, 82.64),
    Published("CLIP B/16 + LoRA, 1K identities", FROUNDATION, 90.75),
    Published("CLIP B/16 + LoRA, 2.5K identities", FROUNDATION, 91.46, note="read off a figure, about 0.05"),
    Published("CLIP B/16 + LoRA, 5K identities", FROUNDATION, 91.93, note="read off a figure, about 0.05"),
    Published("CLIP B/16 + LoRA, 10K identities", FROUNDATION, 92.13),
    Published("CLIP B/16, best", FROUNDATION, 93.11),
    Published("CLIP L/14, frozen", FROUNDATION, 86.44),
    Published("CLIP L/14, best", FROUNDATION, 95.59),
    Published("DINOv2 ViT-L, best", FROUNDATION, 96.03),
    Published("IR18 from scratch on CASIA", ADAFACE, 93.30),
    Published("IR50 from scratch on CASIA", ADAFACE, 94.85),
    Published("ViT-B + KPRPE on WebFace12M", KPRPE, 97.76),
)  # fmt: skip


def key(name: str) -> str | None:
    """The key in FIVE of a benchmark that a user called `name`, such as "CFP-FP" or "agedb"; None for any other."""
    plain = "".join(letter for letter in name.lower() if letter.isalnum())
    plain = {"agedb": "agedb30", "cfp": "cfpfp"}.get(plain, plain)
    return plain if plain in FIVE else None


def of_five(benchmarks: BenchmarkResults) -> dict[str, float]:
    """The accuracies, in percent, of those of a run's benchmarks that are among the five, by their keys in FIVE."""
    return {known: 100 * entry.accuracy for name, entry in benchmarks.items() if (known := key(name))}


def average(benchmarks: BenchmarkResults) -> float | None:
    """The mean accuracy in percent if all five were measured."""
    found = of_five(benchmarks)
    return sum(found.values()) / len(FIVE) if len(found) == len(FIVE) else None


def by_category(benchmarks: BenchmarkResults) -> dict[str, dict[str, BenchmarkResult]]:
    """Category -> its benchmarks' entries by name, in the order of CATEGORIES; without those of unknown category."""
    found: dict[str, dict[str, BenchmarkResult]] = {}
    for category in CATEGORIES:
        members = {name: e for name, e in benchmarks.items() if (known := key(name)) and FIVE[known][1] == category}
        if members:
            found[category] = members
    return found
