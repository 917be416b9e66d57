"""One of two processes: for each setting of both schemas, whether changing it in the second process is refused.

First, that both know what either found (`processes.anywhere`).

python -m tests.distributed.agree PORT PROCESS
"""

from __future__ import annotations

import dataclasses
import json
import sys
import typing

import numpy as np

from adaptface_jax.config.classification import ClassificationConfig
from adaptface_jax.config.schema import Config
from adaptface_jax.core import trees
from adaptface_jax.core.errors import InputError
from adaptface_jax.core.json_io import to_json
from adaptface_jax.distributed import processes
from adaptface_jax.distributed.agreement import check_agreed


def other(value: object) -> object:
    """A different value."""
    if isinstance(value, bool):
        return not value
    return value + 1 if isinstance(value, int | float) else "other"


def main(port: str, index: str) -> None:
    processes.join(f"127.0.0.1:{port}", 2, int(index))
    assert processes.anywhere(np.arange(3) == int(index)).tolist() == [True, True, False]
    told = {}
    for kind in (Config, ClassificationConfig):
        plain: dict[str, typing.Any] = json.loads(to_json(dataclasses.asdict(kind())))
        check_agreed("their settings", plain)
        for name, value in trees.flatten(plain, ".").items():
            mine = trees.flatten(plain, ".") | ({name: other(value)} if index == "1" else {})
            try:
                check_agreed("their settings", mine)
                told[f"{kind.__name__}.{name}"] = ""
            except InputError as error:
                told[f"{kind.__name__}.{name}"] = str(error)
    print(json.dumps(told), file=sys.stderr, flush=True)
    processes.part()


if __name__ == "__main__":
    main(*sys.argv[1:])
