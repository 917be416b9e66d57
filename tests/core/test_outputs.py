# SPDX-License-Identifier: Apache-2.0
"""An output that cannot be written is refused before anything is computed; others are written correctly."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from adaptface_jax.core import files, outputs, run_names
from adaptface_jax.core.errors import InputError
from adaptface_jax.core.files import clear_remains, clear_remains_in, whole_file, whole_folder, write_text
from adaptface_jax.evaluation.pair_scores import PairScores, write_scores


def test_what_can_be_written_is_not_refused_and_leaves_no_trace(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "target")
    for place in ("new.json", "a/b/new.json", "link"):
        outputs.check_file(str(tmp_path / place))
    outputs.check_file("/dev/null")
    outputs.check_folder(str(tmp_path / "x" / "y"))
    assert [path.name for path in tmp_path.iterdir()] == ["link"]


def test_what_a_run_consists_of_is_not_an_output(tmp_path):
    outputs.check_file(str(tmp_path / "metrics.jsonl"))
    (tmp_path / "run.json").touch()
    outputs.check_file(str(tmp_path / "mine.json"))
    for name in run_names.ALL:
        with pytest.raises(InputError, match=f"{name}: belongs to the run in that folder"):
            outputs.check_file(str(tmp_path / name))
    for name in ("scores/lfw.npz", "scores/frozen/lfw.npz", "checkpoints/5/state"):
        with pytest.raises(InputError, match=f"{name}: lies within a run's {name.split('/')[0]}; choose another"):
            outputs.check_file(str(tmp_path / name))
        with pytest.raises(InputError, match=f"{name}: lies within a run's {name.split('/')[0]}; choose another"):
            outputs.check_folder(str(tmp_path / name))


def test_a_full_disk_is_found_first(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda folder: type("Usage", (), {"free": 1000}))
    with pytest.raises(InputError, match="No space left on device"):
        outputs.check_file(str(tmp_path / "x"))


def test_writing_goes_through_links_and_to_devices_and_keeps_modes(tmp_path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "real").chmod(0o640)
    (tmp_path / "link").symlink_to("real")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real").read_text() == "new"
    assert stat.S_IMODE((tmp_path / "real").stat().st_mode) == 0o640
    write_text("/dev/null", "new")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    os.mkfifo(tmp_path / "pipe")
    reader = subprocess.Popen(["cat", tmp_path / "pipe"], stdout=subprocess.PIPE)
    write_text(tmp_path / "pipe", "through")
    assert reader.communicate()[0] == b"through"


def test_new_files_follow_the_umask(tmp_path):
    before = os.umask(0o077)
    try:
        zeros = np.zeros
        write_scores(
            tmp_path / "s.npz", {"f": PairScores(zeros(2), zeros(2, bool), zeros(2, bool), zeros(4, np.int32))}
        )
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "s.npz").stat().st_mode) == 0o600


def test_the_longest_name_that_a_disk_takes_can_be_written(tmp_path):
    for name in ("x" * 255, "\N{CJK UNIFIED IDEOGRAPH-4E00}" * 85):
        write_text(tmp_path / name, "whole")
        assert (tmp_path / name).read_text() == "whole"
        with whole_folder(tmp_path / "f" / name, overwrite=False, marker="m", what="it") as scratch:
            (scratch / "m").touch()
        assert (tmp_path / "f" / name / "m").exists()


KILLED = """
import os, signal, sys
from pathlib import Path
from adaptface_jax.core import files
out, moment = Path(sys.argv[1]), int(sys.argv[2])
calls = 0

def counted(real):
    def wrapped(*arguments, **options):
        global calls
        calls += 1
        if calls == moment:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **options)
    return wrapped

if sys.argv[3] == "old system":
    files._exchanged = lambda one, other: False
else:
    files._exchanged = counted(files._exchanged)
Path.rename, Path.mkdir, files.shutil.rmtree = counted(Path.rename), counted(Path.mkdir), counted(files.shutil.rmtree)
with files.whole_folder(out, overwrite=True, marker="m", what="it") as scratch:
    (scratch / "m").write_text("new")
"""


@pytest.mark.parametrize("system", ["this system", "old system"])
def test_killed_at_any_moment_one_of_the_two_folders_exists(tmp_path, system):
    out, done = tmp_path / "out", False
    for moment in range(1, 20):
        if not out.exists():
            out.mkdir()
        (out / "m").write_text("old")
        end = subprocess.run([sys.executable, "-c", KILLED, str(out), str(moment), system], check=False)
        if end.returncode == 0:
            done = True
            break
        assert end.returncode == -9
        if system == "this system":
            assert (out / "m").read_text() in ("old", "new")
        clear_remains(out)  # as at the next start of any command that writes there
        assert (out / "m").read_text() in ("old", "new")
        assert [path.name for path in tmp_path.iterdir()] == ["out"], moment
    assert done and (out / "m").read_text() == "new" and moment > 4


def test_a_folder_that_cannot_be_replaced_stays(tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "m").write_text("old")
    rename = Path.rename

    def refused(self, target):
        if self.name.endswith(".new"):
            raise OSError(errno.EIO, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refused)
    monkeypatch.setattr(files, "_exchanged", lambda one, other: False)
    with (
        pytest.raises(OSError, match="Input/output"),
        files.whole_folder(tmp_path / "out", overwrite=True, marker="m", what="it") as scratch,
    ):
        (scratch / "m").write_text("new")
    assert (tmp_path / "out" / "m").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_scratch_files_of_dead_processes_are_cleared_and_of_live_ones_kept(tmp_path):
    out = tmp_path / "x.json"
    code = "import sys, os; from adaptface_jax.core.files import whole_file\nwith whole_file(sys.argv[1]): os._exit(1)"
    subprocess.run([sys.executable, "-c", code, str(out)], check=False)
    assert len(list(tmp_path.iterdir())) == 1
    with whole_file(out) as file:
        outputs.check_file(str(out))
        assert len(list(tmp_path.iterdir())) == 1  # ours
        file.write(b"whole")
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


def test_scratch_of_another_machine_is_left_alone_for_a_day(tmp_path, monkeypatch):
    out = tmp_path / "x.json"
    monkeypatch.setattr(files, "_machine", lambda: "0123abcd")
    monkeypatch.setattr("os.getpid", lambda: 2**22 + 1)  # no process of ours
    with contextlib.suppress(OSError), whole_file(out) as file:
        monkeypatch.undo()
        clear_remains(out)
        clear_remains_in(tmp_path)
        scratch = Path(file.name if isinstance(file.name, str) else next(tmp_path.iterdir()))
        assert [path.name for path in tmp_path.iterdir()] == [scratch.name] and "0123abcd-" in scratch.name
        os.utime(scratch, (time.time() - 90_000,) * 2)
        clear_remains(out)
        assert not any(tmp_path.iterdir())
