# SPDX-License-Identifier: Apache-2.0
"""On a CPU a second step reuses the memory of the first, and the kernel need not provide it again."""

from __future__ import annotations

import platform
import statistics
import sys

import pytest

from tests.children import ran

# Page faults of writing 256 MB, four times, in a separate process: at once, or in pieces of 32 MB by a thread whose
# first heap of 64 MB is almost full.
PROGRAM = """
import resource, sys, threading
import numpy as np
if sys.argv[1] == "mesh":
    from adaptface_jax.distributed.mesh import make_mesh
    make_mesh()

def write(pieces):
    for _ in range(4):
        before = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
        arrays = [np.ones((1 << 25) // pieces) for _ in range(pieces)]
        del arrays
        print(resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - before)

def beside():
    held = np.ones(50 << 17)
    write(8)

if sys.argv[2] == "main":
    write(1)
else:
    thread = threading.Thread(target=beside)
    thread.start()
    thread.join()
"""


# The same for a compiled step that needs 256 MB of work space. In jax's own threads most steps take 60,000 faults.
STEPS = """
import resource
import jax
import jax.numpy as jnp
from adaptface_jax.distributed.allocator import compute_in_calling_thread
from adaptface_jax.distributed.mesh import make_mesh
compute_in_calling_thread()
make_mesh()

@jax.jit
def step(x):
    _, kept = jax.lax.scan(lambda x, _: (x * 1.01, x), x, None, 64)
    return jax.lax.scan(lambda total, x: (total * 0.5 + x, None), x, kept)[0]

x = jnp.ones(1 << 20)
for _ in range(12):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    step(x).block_until_ready()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another malloc")
@pytest.mark.parametrize("thread", ["main", "another"])
def test_freed_memory_is_kept_where_there_is_a_mesh_of_processors(thread):
    faults = {}
    for who in ("mesh", "nobody"):
        done = ran(sys.executable, "-c", PROGRAM, who, thread)
        assert done.status == 0, done.error
        faults[who] = [int(line) for line in done.out.split()]
    assert max(faults["mesh"][1:]) < 50
    # With huge pages for everyone even this takes a fault for every 2 MB.
    assert min(faults["nobody"]) >= 100


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another malloc")
def test_a_step_in_the_calling_thread_finds_the_memory_of_the_one_before():
    done = ran(sys.executable, "-c", STEPS)
    assert done.status == 0, done.error
    faults = [int(line) for line in done.out.split()]
    # A step is placed elsewhere now and then, if something small took part of its memory.
    assert statistics.median(faults[1:]) < 200
