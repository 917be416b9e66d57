# SPDX-License-Identifier: Apache-2.0
"""How a command ends: its streams, statuses, and common failures in one line."""

from __future__ import annotations

import errno
import io
import json
import os
import resource
import signal
import subprocess
import sys
import time

import pytest

from adaptface_jax.cli.command import in_one_line
from adaptface_jax.cli.outputs import output_file
from adaptface_jax.cli.parser import Parser
from adaptface_jax.core.errors import InputError
from adaptface_jax.core.flag_values import whole_number
from adaptface_jax.core.json_io import to_json
from adaptface_jax.core.progress import Progress
from adaptface_jax.core.text import duration
from adaptface_jax.pack import __main__ as pack
from tests.children import one_device
from tests.running import call

SCRIPT = """
import sys
from adaptface_jax.cli.command import run_command
from adaptface_jax.cli.parser import Parser
def main(args):
    {}
run_command(main, Parser("made"))
"""


def ran(body, tail="", **environment):
    script = SCRIPT.format(body)
    words = ["bash", "-c", f'"$0" -c "$1" {tail}', sys.executable, script]
    return subprocess.run(words, env=one_device() | environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("tail", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_streams_change_nothing(tail):
    assert ran("print('said'); print('said', file=sys.stderr)", tail).returncode == 0


def test_any_name_can_be_printed_in_any_locale():
    end = ran("print('caf\\xe9', chr(0xdcff), chr(0x4e00))", LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert (end.returncode, end.stderr) == (0, "") and end.stdout.startswith("caf")


def test_a_current_folder_that_was_removed_is_named(tmp_path):
    (tmp_path / "gone").mkdir()
    end = ran(f"import os; os.chdir('{tmp_path}/gone'); os.rmdir('{tmp_path}/gone'); os.path.abspath('x')")
    assert (end.returncode, end.stderr) == (2, "error: the current folder was removed; change to one that exists\n")


def test_a_closed_pipe_is_not_a_fault():
    end = ran("[print(i) for i in range(100000)]", "| head -c1 > /dev/null; exit ${PIPESTATUS[0]}")
    assert (end.returncode, end.stderr) == (1, "")


def test_ctrl_c_is_one_line_and_130():
    # Background processes of a shell ignore the signal; this is undone.
    heard = "import signal, time; signal.signal(signal.SIGINT, signal.default_int_handler)"
    body = f"{heard}\n    print('begun', flush=True)\n    time.sleep(60)"
    words = [sys.executable, "-c", SCRIPT.format(body)]
    child = subprocess.Popen(words, env=one_device(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout is not None and child.stdout.readline() == "begun\n"
    time.sleep(0.1)
    child.send_signal(signal.SIGINT)
    child.send_signal(signal.SIGINT)
    assert child.communicate()[1] == "interrupted; nothing is half-written\n" and child.returncode == 130


def test_ctrl_c_is_not_lost_in_a_callback_of_the_garbage_collector():
    heard = "import gc, signal, time; signal.signal(signal.SIGINT, signal.default_int_handler)"
    callback = "gc.callbacks.append(lambda phase, info: phase == 'start' and signal.raise_signal(signal.SIGINT))"
    end = ran(f"{heard}\n    {callback}\n    gc.collect()\n    gc.callbacks.clear()\n    time.sleep(60)")
    assert (end.returncode, end.stderr) == (130, "interrupted; nothing is half-written\n")


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"JAX_PLATFORMS": "cuda"}, "JAX_PLATFORMS=cuda"),
        ({"JAX_PLATFORMS": "nonsense"}, "JAX_PLATFORMS=nonsense"),
        ({"JAX_ENABLE_X64": "1"}, "JAX_ENABLE_X64"),
        ({"JAX_NUM_CPU_DEVICES": "two"}, 'a variable of the environment (JAX_...): Invalid value "two"'),
        ({"JAX_DEBUG_NANS": "maybe"}, "invalid truth value 'maybe' for environment 'JAX_DEBUG_NANS'"),
    ],
)
def test_an_impossible_environment_gives_one_line(environment, words):
    end = ran("import jax; jax.devices()", **environment)
    assert end.returncode == 2 and words in end.stderr and end.stderr.count("\n") == 1, end.stderr


def test_too_little_address_space_is_refused_first(monkeypatch, capsys):
    monkeypatch.setattr(resource, "getrlimit", lambda which: (1 << 30, 1 << 30))
    assert call(pack) == 2 and "ulimit -v: 1,048,576 kB" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/data/x"), 1, "/data/x: the disk is full"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), 1, "the disk is full"),
        (OSError(errno.EMFILE, "Too many open files", "/data/x"), 1, "/data/x: Too many open files"),
        (FileNotFoundError(errno.ENOENT, "No such file", "/data/x"), 1, "/data/x: No such file"),
        (OSError(errno.EROFS, "Read-only file system", b"/\xff"), 1, "Read-only file system"),
        (
            OSError(errno.ENAMETOOLONG, "File name too long", "x" * 5000),
            2,
            "x\N{HORIZONTAL ELLIPSIS}: File name too long",
        ),
        (MemoryError("Unable to allocate 3.00 TiB for an array"), 1, "Unable to allocate 3.00 TiB"),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 137438953472 bytes."), 1, "137438953472 bytes"),
    ],
)
def test_failures_of_the_machine_give_one_line(error, status, words):
    found = in_one_line(error)
    assert found is not None and found[0] == status and words in found[1] and "\n" not in found[1]


def test_a_name_in_a_message_cannot_steer_a_terminal():
    end = ran("from adaptface_jax.core.errors import InputError; raise InputError('a\\x1b[31m %s')")
    assert (end.returncode, end.stderr) == (2, "error: a\\x1b[31m %s\n")


def made(words):
    parser = Parser("made")
    parser.add_argument("source")
    parser.add_argument("--run", default=None)
    parser.add_argument("--labels", default="")
    parser.add_argument("--benchmark", action="append", default=[])
    parser.add_argument("--threshold", type=float)
    parser.add_argument("--batch_size", type=int)
    parser.add_argument("--seed", type=whole_number(least=0))
    return parser.parse(words)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([""], "source: is empty (an unset variable?)"),
        (["a", "--run="], "--run: is empty (an unset variable?)"),
        (["a", "--benchmark=", "--benchmark=x"], "--benchmark: is empty (an unset variable?)"),
        (["a", "--threshold=nan"], "--threshold: 'nan' is not a finite number"),
        (["a", "--threshold=1e400"], "--threshold: '1e400' is not a finite number"),
        (["a", "--batch_size=99999999999"], "--batch_size: '99999999999' is not a whole number up to 2,147,483,647"),
        (["a", "--batch_size=" + "9" * 5000], "9\u2026 is not a whole number"),
        (["a", "--seed=-1"], "--seed: '-1' is not a whole number from 0 on"),
        (["a", "--seed=" + "9" * 5000], "9\u2026 is not a whole number from 0 on"),
    ],
)
def test_no_command_takes_an_empty_word_or_an_impossible_number(words, said):
    with pytest.raises(InputError) as refused:
        made(words)
    assert said in str(refused.value) and len(str(refused.value)) < 200


def test_no_output_replaces_another_argument(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.png").touch()
    (tmp_path / "link.json").symlink_to("a.png")
    parser = Parser("made")
    parser.add_argument("source", nargs="+")
    parser.add_argument("--output", type=output_file)
    parser.add_argument("--sheet", type=output_file)
    for words, said in (
        (["a.png", "b.png", f"--output={tmp_path}/a.png"], "a.png is also source"),
        (["a.png", "--sheet=link.json"], "--sheet: link.json is also source"),
        (["b.png", "--output=x", "--sheet=./x"], "--sheet: ./x is also --output"),
    ):
        with pytest.raises(InputError, match=said):
            parser.parse(words)
    parser.parse(["a.png", "--output=/dev/null", "--sheet=/dev/null"])


def test_a_default_may_be_written_out():
    found = made(["a", "--labels=", "--seed=0", "--batch_size=-1", "--threshold=1e-400"])
    assert (found.labels, found.seed, found.batch_size, found.threshold) == ("", 0, -1, 0.0)


def test_a_bug_keeps_its_traceback():
    assert in_one_line(ValueError("x")) is None
    assert "Traceback" in ran("raise ValueError('x')").stderr


def test_an_hour_of_suspension_does_not_count_in_the_eta(monkeypatch, capsys):
    clocks = {"monotonic": 0.0, "process_time": 0.0}
    for name in clocks:
        monkeypatch.setattr(f"adaptface_jax.core.progress.time.{name}", lambda name=name: clocks[name])
    monkeypatch.setattr("sys.stderr", io.StringIO())
    progress = Progress(100)
    for step in range(1, 51):
        clocks["monotonic"] += 100 if step != 25 else 3700  # SIGSTOP
        clocks["process_time"] += 30
        progress.show(step, {})
    assert capsys.readouterr().out.splitlines()[-1] == "50/100  ETA 1 h 23 min"


def test_a_name_that_is_not_utf_8_survives_json():
    name = os.fsdecode(b"caf\xe9/\xff.png")
    text = to_json({"path": name, "other": "\N{SNOWMAN}"})
    assert json.loads(text.encode("utf-8")) == {"path": name, "other": "\N{SNOWMAN}"}
    assert "\N{SNOWMAN}" in to_json({"other": "\N{SNOWMAN}"})


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (7.4, "7 s"),
        (59.7, "1 min 00 s"),
        (232, "3 min 52 s"),
        (64476, "17 h 54 min"),
        (86399.7, "1 d 0 h 00 min"),
        (133920, "1 d 13 h 12 min"),
        (1e8, "1,157 d 9 h 46 min"),
    ],
)
def test_durations(seconds, said):
    assert duration(seconds) == said
