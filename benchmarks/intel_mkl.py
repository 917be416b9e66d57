# SPDX-License-Identifier: Apache-2.0
"""The Math Kernel Library's functions for Intel processors, on any: torch's products then take AVX-512 on AMD too.

MKL asks `mkl_serv_intel_cpu_true` who made the processor, and takes slower functions on others': at a product of
4,112 x 384 x 1,536 half of the speed on an AMD EPYC with AVX-512. A library that answers first makes torch as strong
an opponent there as on an Intel processor with the same instructions.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

ANSWERS = "int mkl_serv_intel_cpu_true(void) { return 1; }\nint mkl_serv_intel_cpu(void) { return 1; }\n"


@contextmanager
def functions_for_intel() -> Iterator[None]:
    """Processes started within take them. Needs a C compiler, `cc`, and Linux."""
    with TemporaryDirectory() as folder:
        source, library = Path(folder, "answers.c"), Path(folder, "answers.so")
        source.write_text(ANSWERS)
        subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
        before = os.environ.get("LD_PRELOAD")
        os.environ["LD_PRELOAD"] = " ".join(filter(None, [str(library), before]))
        try:
            yield
        finally:
            os.environ.pop("LD_PRELOAD")
            if before is not None:
                os.environ["LD_PRELOAD"] = before
