"""On a CPU a second step finds the memory of the first one, and the kernel need not hand it out again."""

from __future__ import annotations

import platform
import sys

import pytest

from tests.children import ran

# Page faults of writing 256 MB, four times, in a process of its own.
PROGRAM = """
import resource, sys
import numpy as np
if sys.argv[1] == "mesh":
    from adaptface_jax.distributed.mesh import make_mesh
    make_mesh()
for _ in range(4):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    array = np.ones(1 << 25)
    del array
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another malloc")
def test_freed_memory_is_kept_where_there_is_a_mesh_of_processors():
    faults = {}
    for who in ("mesh", "nobody"):
        done = ran(sys.executable, "-c", PROGRAM, who)
        assert done.status == 0, done.error
        faults[who] = [int(line) for line in done.out.split()]
    assert max(faults["mesh"][1:]) < 50
    # With huge pages for everyone even this takes a fault for every 2 MB.
    assert min(faults["nobody"]) >= 100
