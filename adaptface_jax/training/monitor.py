# SPDX-License-Identifier: Apache-2.0
"""What a run logs while it trains: TensorBoard events and `metrics.jsonl`, from the same call.

The one importer of tensorboardX.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TextIO

import numpy as np
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from adaptface_jax.core import run_names
from adaptface_jax.core.errors import InputError, RunError
from adaptface_jax.core.files import write_text
from adaptface_jax.core.imports import hidden
from adaptface_jax.core.json_io import parse_object, to_json
from adaptface_jax.core.text import one_line
from adaptface_jax.training.trackers import WandbRun

with hidden("torch"):  # importing it takes longer than the rest of a command's startup
    import tensorboardX
    from tensorboardX.summary import custom_scalars
    from tensorboardX.summary import hparams as hparams_summaries

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METRICS_FILE = run_names.METRICS

# It would warn about every non-finite number; the run counts and reports such steps itself.
logging.getLogger("tensorboardX.x2num").setLevel(logging.ERROR)


class Monitor:
    """Writes a run's scalars, texts, histograms and figures under its workdir; a context manager.

    Args:
      workdir: created if missing; receives the event files and `metrics.jsonl`. None: nothing is written.
      resume_step: the first step that this session will write. What an interrupted session wrote at that step or
        later is dropped from `metrics.jsonl` and hidden from TensorBoard, so that no step counts twice.
      online: receives the same scalars; closed with the monitor.
      witness: called with every line of `metrics.jsonl`.
      again: the prefix of the tags that this session rewrites at the step before `resume_step`.
    """

    def __init__(
        self,
        workdir: str | os.PathLike[str] | None,
        resume_step: int = 0,
        online: WandbRun | None = None,
        witness: Callable[[str], None] | None = None,
        again: str = "",
    ) -> None:
        self._lines: TextIO | None = None
        self._online, self._witness = online, witness
        if workdir is None:
            return
        workdir = Path(workdir)
        workdir.mkdir(parents=True, exist_ok=True)
        self._resume_step = resume_step
        path = workdir / METRICS_FILE
        _drop_from(path, resume_step, again)
        self._lines = path.open("a", encoding="utf-8")
        # Event files are named by the second and read in the order of their names: the counter separates, and
        # orders, two sessions that start within a second.
        sessions = len(list(workdir.glob("events.out.tfevents.*")))
        self._events = tensorboardX.SummaryWriter(
            str(workdir), purge_step=resume_step, flush_secs=10, filename_suffix=f".{sessions:04d}"
        )
        self._written = _Written(self._events)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Flushes what is buffered; may be called twice."""
        if self._lines is not None:
            self._lines.close()
            self._events.close()
            self._written.check()
        if self._online is not None:
            self._online.close()
            self._online = None

    def scalars(self, step: int, values: Mapping[str, Any], drawn: Callable[[str], str] = str) -> None:
        """Writes numbers (tag -> anything `float` takes) as one line `{"step": 120, "train/loss": 31.2}` and as events.

        drawn: the tag of a number in TensorBoard, if it differs.
        NaN and infinities are null in the line, which is always valid JSON, and unchanged in TensorBoard.
        Raises RunError if `metrics.jsonl` was removed in the meantime, for example with its folder.
        """
        if self._lines is None:
            return
        numbers = {tag: float(value) for tag, value in values.items()}
        line = to_json({"step": int(step), **numbers})
        self._lines.write(line + "\n")
        self._lines.flush()
        if not os.path.exists(self._lines.name):
            raise RunError(
                f"{self._lines.name}: was removed while it was being written to, so the run ends; the same command"
                " resumes from what is left"
            )
        self._written.check()
        if self._witness is not None:
            self._witness(line)
        shown = {drawn(tag): number for tag, number in numbers.items()}
        for tag, number in shown.items():
            self._events.add_scalar(tag, number, int(step))
        if self._online is not None:
            self._online.scalars(int(step), shown)

    def layout(self, tabs: Mapping[str, Mapping[str, Sequence[str]]]) -> None:
        """Writes TensorBoard's custom scalars: title of a part -> title of a chart -> patterns of the tags it shows."""
        if self._lines is not None:
            charts = {tab: {title: ["Multiline", list(tags)] for title, tags in of.items()} for tab, of in tabs.items()}
            self._events.file_writer.add_summary(custom_scalars(charts), self._resume_step)

    def text(self, tag: str, markdown: str) -> None:
        """Writes a text for the whole session, such as its configuration."""
        if self._lines is not None:
            self._events.add_text(tag, _utf_8(markdown), self._resume_step)

    def histogram(self, step: int, tag: str, values: np.ndarray) -> None:
        """Writes the distribution of the finite `values`, of any shape; nothing if there are none."""
        values = np.asarray(values, np.float64).ravel()
        values = values[np.isfinite(values)]
        if values.size and self._lines is not None:
            self._events.add_histogram(tag, values, int(step))

    def figure(self, step: int, tag: str, figure: Figure) -> None:
        """Writes a matplotlib figure as an image."""
        if self._lines is not None:
            self._events.add_figure(tag, figure, int(step))

    def pr_curve(self, step: int, tag: str, truth: np.ndarray, scores: np.ndarray) -> None:
        """Writes precision over recall. truth: bool [N]. scores: float [N] in 0..1, high for a positive."""
        if self._lines is not None:
            self._events.add_pr_curve(tag, truth.astype(np.int64), np.asarray(scores, np.float64), int(step))

    def picture(self, step: int, tag: str, image: np.ndarray) -> None:
        """Writes an image, uint8 [H, W, 3]. Images of faces only on request (`monitor.images`)."""
        if self._lines is not None:
            self._events.add_image(tag, image, int(step), dataformats="HWC")

    def embeddings(self, step: int, sets: Mapping[str, tuple[np.ndarray, list[str], np.ndarray]]) -> None:
        """Writes points for the projector: tag -> (points [N, D], N names, square faces uint8 [N, S, S, 3])."""
        if self._lines is None:
            return
        # tensorboardX appends to what an earlier session left.
        folder = Path(self._events.logdir)
        (folder / "projector_config.pbtxt").unlink(missing_ok=True)
        shutil.rmtree(folder / f"{int(step):05d}", ignore_errors=True)
        for tag, (points, names, faces) in sets.items():
            sprites = faces.transpose(0, 3, 1, 2).astype(np.float32) / 255
            labels = [_utf_8(name) for name in names]
            with np.errstate(all="ignore"):  # the picture's spare squares are whatever was in memory
                self._events.add_embedding(points, metadata=labels, label_img=sprites, global_step=int(step), tag=tag)

    def hparams(
        self, settings: Mapping[str, Any], metrics: Mapping[str, float], first: Collection[str] = frozenset()
    ) -> None:
        """Writes one row of TensorBoard's table of runs: settings and the metrics they led to.

        first: the settings whose columns come first.
        """
        if self._lines is None:
            return
        plain = {
            name: value if isinstance(value, bool | int | float) else _utf_8(str(value))
            for name, value in settings.items()
        }
        # SummaryWriter.add_hparams would open a run of its own below this one.
        experiment, start, end = hparams_summaries(plain, dict(metrics))
        # TensorBoard sorts the columns by name, after those marked as differing between runs.
        described = experiment.value[0].metadata.plugin_data
        columns = HParamsPluginData.FromString(described.content)
        for column in columns.experiment.hparam_infos:
            column.differs = column.name in first
        described.content = columns.SerializeToString()
        for summary in (experiment, start, end):
            self._events.file_writer.add_summary(summary, self._resume_step)
        if self._online is not None:
            self._online.summary(metrics)


class _Written:
    """The file of events, whose first failure is kept: in tensorboardX's thread it would end the thread, with a
    traceback, and the training would wait forever for room in its queue."""

    def __init__(self, events: tensorboardX.SummaryWriter) -> None:
        self._folder = events.logdir
        self._failure: OSError | None = None
        writer = events.file_writer.event_writer
        self._file: Any = getattr(writer, "_ev_writer", None)
        if self._file is not None:  # as in every version so far
            writer._ev_writer = writer._worker._record_writer = self

    def check(self) -> None:
        """Raises the OSError of a write that failed, once."""
        failure, self._failure = self._failure, None
        if failure is not None:
            failure.filename = failure.filename or self._folder
            raise failure

    def write_event(self, event: Any) -> None:
        self._try(lambda: self._file.write_event(event))

    def flush(self) -> None:
        self._try(self._file.flush)

    def close(self) -> None:
        self._try(self._file.close)

    def _try(self, work: Callable[[], Any]) -> None:
        try:
            work()
        except OSError as error:
            self._failure = self._failure or error


def read_metrics(workdir: str | os.PathLike[str], say: Callable[[str], None] | None = None) -> list[dict[str, Any]]:
    """The lines of a run's `metrics.jsonl` in order, without a last line that a crash truncated; empty if none.

    Every line has `step`, an integer. Raises InputError, which names the first damaged line; with `say`
    damaged lines are skipped, and reported in one line.
    """
    path = Path(workdir) / METRICS_FILE
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({one_line(error)})") from None
    rows: list[dict[str, Any]] = []
    damaged: list[tuple[int, str]] = []
    # A line is complete if it ends with a newline; a crash may also leave zeros.
    for number, line in enumerate(data.split(b"\n")[:-1], 1):
        try:
            rows.append(_row(line))
        except (ValueError, RecursionError) as error:
            damaged.append((number, one_line(error, 80)))
    if damaged:
        number, reason = damaged[0]
        more = f", and {len(damaged) - 1} more" if len(damaged) > 1 else ""
        told = f"{path}: line {number} is damaged ({reason}){more}"
        if say is None:
            raise InputError(f"{told}; remove it, or restore the file")
        say(f"{told}; skipped")
    return rows


def _utf_8(text: str) -> str:
    """Escapes bytes of a name that are not UTF-8, which TensorBoard's format requires."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _row(line: bytes) -> dict[str, Any]:
    row = parse_object(line)
    for name, value in row.items():
        number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
        if not (number or (value is None and name != "step")):
            raise ValueError(f"{name[:40]!r} is not a number")
    step = row.get("step")
    if not isinstance(step, int) or step < 0:
        raise ValueError("it has no step")
    return row


def _drop_from(path: Path, step: int, again: str) -> None:
    def stays(row: Mapping[str, Any]) -> bool:
        repeated = again and row["step"] == step - 1 and any(tag.startswith(again) for tag in row)
        return row["step"] < step and not repeated

    if path.exists():
        kept = [row for row in read_metrics(path.parent) if stays(row)]
        write_text(path, "".join(to_json(row) + "\n" for row in kept))
