"""What a router gains: accuracy, gate entropy and agreement with the true domains for each choice.

    python benchmarks/routers.py --out=benchmarks/results/routers.json
    python benchmarks/routers.py --faces=att=TRAIN=BENCHMARK ...   further data sets: name, training set, benchmark

Trains LoRA and DA-LoRA with the settings of configs/demo.py: both routers, with and without the balance loss, with and
without domain labels. Each run is `python -m adaptface_jax.train` in its own folder; numbers come from its results.json
and metrics.jsonl. What each costs is in benchmarks/train_step.py.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
BUILT_IN_TRAIN = "synthetic:identities=64,images=24,seed=1"
BUILT_IN_TEST = "synthetic:identities=40,images=12,seed=2,pairs=600"
BALANCE = 0.5
ROUTERS = ("frozen", "block:2")


def variants(labeled: bool) -> dict[str, list[str]]:
    """Name -> the settings that differ."""
    found = {"lora": ["--config.adapter.kind=lora"]}
    for router in ROUTERS:
        for balance in (0.0, BALANCE):
            name = f"dalora {router}" + (" + balance" if balance else "")
            found[name] = [f"--config.adapter.router={router}", f"--config.adapter.balance_weight={balance}"]
    return {f"{name}{', labels' if labeled else ''}": words for name, words in found.items()}


def run(words: list[str], workdir: Path) -> dict[str, Any]:
    """Train once and read the results."""
    command = [sys.executable, "-m", "adaptface_jax.train", f"--config={ROOT / 'configs/demo.py'}"]
    subprocess.run([*command, f"--workdir={workdir}", *words], check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
    entry = next(iter(json.loads((workdir / "results.json").read_text())["benchmarks"].values()))
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    last = next(row for row in reversed(rows) if "train/loss" in row)
    gates = entry.get("gates", {})
    return {
        "accuracy": entry["accuracy"],
        "auc": entry["auc"],
        "entropy": last.get("train/gate/entropy"),
        "balance": last.get("train/gate/balance"),
        "agreement": gates.get("agreement"),
        "matched_agreement": gates.get("matched_agreement"),
    }


def measure(name: str, train: str, benchmark: str, extra: list[str], labeled: bool, seeds: int) -> list[dict]:
    """One row per variant, each the mean over seeds."""
    rows = []
    for variant, words in variants(labeled).items():
        found = []
        for seed in range(seeds):
            with tempfile.TemporaryDirectory() as folder:
                common = [f"--config.data.train={train}", f"--benchmark={name}={benchmark}", f"--config.seed={seed}"]
                found.append(run([*common, *extra, *words], Path(folder) / "run"))
        mean = {k: statistics.mean(f[k] for f in found) if found[0][k] is not None else None for k in found[0]}
        rows.append({"data": name, "variant": variant, "seeds": seeds, **mean})
        print(line(rows[-1]), flush=True)
    return rows


def line(row: dict[str, Any]) -> str:
    """A row of the table."""

    def cell(name: str, scale: float = 1, form: str = ".3f") -> str:
        return f"{row[name] * scale:{form}}" if row[name] is not None else ""

    cells = [row["data"], row["variant"], cell("accuracy", 100, ".2f"), cell("auc", 1, ".4f"), cell("entropy")]
    cells += [cell("agreement", 100, ".1f"), cell("matched_agreement", 100, ".1f")]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faces", action="append", default=[], metavar="NAME=TRAIN=BENCHMARK")
    parser.add_argument("--settings", action="append", default=[], help="further settings of the --faces runs")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/routers.json")
    args = parser.parse_args()
    steps = [f"--config.train.steps={args.steps}", "--config.eval.every_epochs=0"]
    steps += ["--config.train.batch_size=64", "--config.train.learning_rate=1e-3"]
    print("| data | variant | accuracy % | AUC | entropy | agreement % | matched % |", flush=True)
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: |", flush=True)
    rows = measure("built-in", BUILT_IN_TRAIN, BUILT_IN_TEST, steps, True, args.seeds)
    hidden = measure("built-in", BUILT_IN_TRAIN + ",labels=none", BUILT_IN_TEST, steps, False, args.seeds)
    rows += [row for row in hidden if row["variant"] != "lora"]
    for text in args.faces:
        name, train, benchmark = text.split("=", 2)
        rows += measure(name, train, benchmark, steps + args.settings, False, args.seeds)
    machine = {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()}
    args.out.write_text(json.dumps({"machine": machine, "steps": args.steps, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
