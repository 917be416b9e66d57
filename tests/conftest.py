# SPDX-License-Identifier: Apache-2.0
"""Fixtures for every test."""

from __future__ import annotations

import atexit
import collections
import gc
import importlib.metadata
import os
import tempfile
from pathlib import Path

from tests.children import FAKE_DEVICES, PATIENCE

# Sharding is tested on fake devices; this must be set before jax starts.
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = " ".join(
    (
        os.environ.get("XLA_FLAGS", ""),
        FAKE_DEVICES,
        # Small programs that run a few times: optimizing them would take most of the tests' time.
        "--xla_backend_optimization_level=0",
        "--xla_cpu_parallel_codegen_split_count=1",
        *(("--xla_cpu_use_fusion_emitters=false",) if importlib.metadata.version("jaxlib").startswith("0.10.") else ()),
        # On a busy machine the devices synchronize late; XLA would abort the program after 40 s.
        f"--xla_cpu_collective_call_terminate_timeout_seconds={PATIENCE}",
    )
)

# The tests run the same small programs again and again, in this process, in xdist's and in child processes: each is
# compiled once per session. Workers find the folder in the environment; its creator removes it.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    compiled = tempfile.TemporaryDirectory(prefix="compiled-", ignore_cleanup_errors=True)
    atexit.register(compiled.cleanup)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = compiled.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.05"

# Otherwise each child process would compile the package's modules again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

import hypothesis
import pytest

# What jax traces is hundreds of thousands of objects, which the collector would look through again and again.
gc.set_threshold(100_000, 50, 100)

# The first call of a jitted function compiles: a deadline per example would measure that.
hypothesis.settings.register_profile("jax", deadline=None)
hypothesis.settings.load_profile("jax")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first: none is left to run alone at the end. A file stays together, for its fixtures."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def goldens() -> Path:
    """Outputs of other programs, or of earlier versions of this one; see their README."""
    return Path(__file__).resolve().parent / "goldens"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real faces kept next to a checkout; a user's machine has none."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no shared data next to this checkout")
    return folder


@pytest.fixture(scope="session", autouse=True)
def _generated_people_are_rendered_once():
    """Trainings open the same few people again and again, and to render them takes seconds."""
    from adaptface_jax.data.sources.from_path import PREFIXES
    from adaptface_jax.data.sources.synthetic import PREFIX, open_synthetic

    albums = collections.defaultdict(dict)

    def opened(path: str):
        source = open_synthetic(path)
        source._rendered = albums[source._spec.seed, source._spec.images]
        return source

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PREFIXES, PREFIX, opened)
        yield


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory) -> Path:
    """A small finished run with every record; its settings are next to it in `small.py`."""
    from tests.finished_run import write_finished_run  # the package may be imported once jax's environment is set

    return write_finished_run(tmp_path_factory.mktemp("finished"))
