# SPDX-License-Identifier: Apache-2.0
"""What opening a training set costs, by the number of its records: seconds, memory, and how they grow.

    python benchmarks/opening.py --folder=/tmp/sets --largest=10000000 --out=benchmarks/results/opening.json

Synthetic sets of tiny records, a hundred per class, in `--folder`, each removed after measuring: InsightFace records
with identity ranges and flat ones, and folders of files. Each opening runs in its own process that has imported
everything: CPU seconds of opening, of the digests that a run's record needs, and of the first and the last batch of a
shuffled epoch; the growth of its resident memory. The exponent is the slope of log(seconds) over log(records) from 10^4
to 10^6, of folders from 10^3 to 10^5.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from memory import resident

PER_CLASS = 100
FRAME = np.dtype([("magic", "<u4"), ("length", "<u4"), ("flag", "<u4"), ("label", "<f4"), ("ids", "<u8", 2)])
IMAGE = np.dtype([*FRAME.descr, ("image", "<u4")])
RANGE = np.dtype([*FRAME.descr, ("range", "<f4", 2)])
MAGIC = 0xCED7230A
POWERS = {"identity": range(4, 9), "flat": range(4, 9), "folders": range(3, 6)}  # of ten: records that are measured


def make(form: str, folder: Path, records: int) -> None:
    """A set of so many records in `folder`."""
    folder.mkdir(parents=True)
    classes = records // PER_CLASS
    labels = np.repeat(np.arange(classes), PER_CLASS)
    if form in ("identity", "flat"):
        _records(folder, labels, classes, ranges=form == "identity")
    else:
        for label in range(classes):
            person = folder / f"person{label:06d}"
            person.mkdir()
            for number in range(PER_CLASS):
                (person / f"{number:04d}.jpg").touch()


def _records(folder: Path, labels: np.ndarray, classes: int, ranges: bool) -> None:
    count = len(labels)
    images = np.zeros(count, IMAGE)
    images["magic"], images["length"], images["label"] = MAGIC, IMAGE.itemsize - 8, labels
    offsets = IMAGE.itemsize * np.arange(count)
    keys, parts = np.arange(count), [images.tobytes()]
    if ranges:
        heads = np.zeros(1 + classes, RANGE)
        heads["magic"], heads["length"], heads["flag"] = MAGIC, RANGE.itemsize - 8, 2
        heads["range"][0] = count + 1, count + 1 + classes
        heads["range"][1:, 0] = 1 + PER_CLASS * np.arange(classes)
        heads["range"][1:, 1] = heads["range"][1:, 0] + PER_CLASS
        parts = [heads[:1].tobytes(), images.tobytes(), heads[1:].tobytes()]
        keys = np.arange(1 + count + classes)
        more = RANGE.itemsize * np.arange(classes)
        offsets = np.concatenate([[0], RANGE.itemsize + offsets, RANGE.itemsize + images.nbytes + more])
    with (folder / "train.rec").open("wb") as file:
        file.writelines(parts)
    with (folder / "train.idx").open("w") as file:
        for start in range(0, len(keys), 100_000):
            rows = zip(keys[start : start + 100_000].tolist(), offsets[start : start + 100_000].tolist(), strict=True)
            file.write("".join(f"{key}\t{offset}\n" for key, offset in rows))


def measure(folder: Path) -> dict[str, Any]:
    """What opening costs in this process."""
    from adaptface_jax.data.pipeline import record_keys, steps_per_epoch
    from adaptface_jax.data.sources.from_path import open_form
    from adaptface_jax.training.run import describe_source

    base, times = resident("VmHWM"), [time.process_time()]
    source = open_form(str(folder))
    times.append(time.process_time())
    after = resident("VmHWM")
    describe_source(source)
    times.append(time.process_time())
    for step in (1, steps_per_epoch(source, 128)):
        record_keys(source, 128, 0, step)
    times.append(time.process_time())
    opening, digests, order = np.diff(times).tolist()
    return {
        "records": len(source),
        "classes": source.num_classes,
        "opening_seconds": opening,
        "digest_seconds": digests,
        "order_seconds": order,
        "opening_bytes": after - base,
        "all_bytes": resident("VmHWM") - base,
    }


def exponent(rows: list[dict[str, Any]]) -> float | None:
    """The slope of log(opening and digests) over log(records), of the three smallest sets."""
    kept = rows[:3]
    if len(kept) < 3:
        return None
    seconds = [row["opening_seconds"] + row["digest_seconds"] for row in kept]
    return float(np.polyfit(np.log([row["records"] for row in kept]), np.log(seconds), 1)[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="where the sets are made, up to 1 GB")
    parser.add_argument("--largest", type=int, default=10**6, help="records of the largest set [1000000]")
    parser.add_argument("--forms", default=",".join(POWERS), help=f"[{','.join(POWERS)}]")
    parser.add_argument("--measure", action="store_true", help="the set in --folder, in this process")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(measure(args.folder)))
        return
    from showing import show

    found: dict[str, Any] = {}
    for form in args.forms.split(","):
        rows = []
        for records in (10**power for power in POWERS[form]):
            if records > args.largest:
                break
            folder = args.folder / f"{form}-{records}"
            try:
                make(form, folder, records)
                command = [sys.executable, __file__, f"--folder={folder}", "--measure"]
                done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            rows.append(json.loads(done.stdout.splitlines()[-1]))
            row = rows[-1]
            print(
                f"{form:9} {records:>11,} records: {row['opening_seconds']:.2f} s to open, "
                f"{row['digest_seconds']:.2f} s of digests, {row['order_seconds']:.2f} s of order, "
                f"+{row['all_bytes'] / 1e6:.0f} MB",
                flush=True,
            )
        found[form] = {"rows": rows, "exponent": exponent(rows)}
    show({"sets": found, "time": "CPU seconds, one process"}, args.out)


if __name__ == "__main__":
    main()
