"""`--help` and unknown flags: answered before the numerical libraries are imported."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.children import one_device
from tests.test_main import COMMANDS

# Each command in turn, in one fresh process: its output and status, then the modules loaded at the end.
SCRIPT = """
import contextlib, io, json, runpy, sys
said = {}
for name in sys.argv[2:]:
    out, err = io.StringIO(), io.StringIO()
    words = [name, *sys.argv[1].split()]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        sys.argv, kept = words, sys.argv
        try:
            runpy.run_module(f"adaptface_jax.{name}", run_name="__main__", alter_sys=True)
        except SystemExit as end:
            said[name] = [end.code, out.getvalue(), err.getvalue()]
        sys.argv = kept
json.dump([said, sorted({module.partition(".")[0] for module in sys.modules})], sys.stdout)
"""
HEAVY = {"jax", "jaxlib", "flax", "orbax", "grain", "scipy", "sklearn", "numpy", "PIL", "ml_collections", "matplotlib"}


def answers(words):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, words, *COMMANDS], env=one_device(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("words", "status", "told"), [("--help", 0, "usage: "), ("", 2, "error: "), ("--halp", 2, "error: ")]
)
def test_help_and_bad_flags_load_no_heavy_library(words, status, told):
    said, modules = answers(words)
    assert list(said) == COMMANDS
    for name, (code, out, err) in said.items():
        assert (code, (out + err).startswith(told)) == (status, True), (name, code, err)
        assert bool(out) == (status == 0) and len(err.splitlines()) == (status == 2)
    assert not HEAVY & set(modules)
