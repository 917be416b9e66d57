# SPDX-License-Identifier: Apache-2.0
"""Two processes of one run on one machine: the losses of one process, output once, and no waiting for the dead."""

from __future__ import annotations

import contextlib
import json
import secrets
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from unittest.mock import ANY

import numpy as np
import pytest
from PIL import Image

from adaptface_jax.core.errors import InputError
from adaptface_jax.distributed import processes
from adaptface_jax.distributed.liveness import listen_for_all
from adaptface_jax.training.monitor import read_metrics
from tests.children import Child, one_device, started, until
from tests.running import newest_checkpoint, write_config

SETTINGS = {
    "backbone.weights": "builtin",
    "head.embedding_dim": 32,
    "data.train": "synthetic:identities=6,images=6,seed=1",
    "data.benchmarks": {"faces": "synthetic:identities=4,images=6,seed=2,pairs=20"},
    "eval.batch_size": 8,
    "eval.every_epochs": 0,
    "train.batch_size": 8,
    "train.steps": 12,
    "train.grad_accum": 2,
    "train.learning_rate": 1e-4,
    "train.log_every": 1,
    "checkpoint.every_steps": 4,
}


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Path:
    return write_config(tmp_path_factory.mktemp("processes") / "small.py", SETTINGS)


ROOT = Path(__file__).resolve().parents[2]


def start(
    config: Path, workdir: Path, *words: str, place: Path = ROOT, **environment: str
) -> AbstractContextManager[Child]:
    program = (sys.executable, "-m", "adaptface_jax.train", f"--config={config}", f"--workdir={workdir}")
    here = {"PYTHONPATH": str(ROOT)}
    return started(*program, *words, cwd=place, env=one_device() | here | environment)


@contextlib.contextmanager
def start_two(
    config: Path, workdir: Path, *words: str, second: tuple[str, ...] = (), places: tuple[Path, Path] = (ROOT, ROOT)
) -> Iterator[list[Child]]:
    """As torchrun would start them; `second`: flags for the second one only, `places`: their folders."""
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2"}
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(start(config, workdir, *words, *alone, place=places[rank], **shared, RANK=str(rank)))
            for rank, alone in enumerate(((), second))
        ]


def free_port() -> int:
    """Below the ephemeral ports, so that no other program gets it before it is used."""
    while True:
        port = 20_000 + secrets.randbelow(10_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def own_lines(error: str) -> list[str]:
    """Without those of the collectives library."""
    return [line for line in error.splitlines() if not line.startswith("[Gloo]")]


def losses(workdir: Path) -> dict[int, float]:
    rows = [(row["step"], row["train/loss"]) for row in read_metrics(workdir) if "train/loss" in row]
    assert len(dict(rows)) == len(rows), "a step is logged twice"
    return dict(rows)


@pytest.mark.slow
def test_two_processes_give_the_losses_of_one(config, tmp_path):
    with start_two(config, tmp_path / "two", "--config.train.fsdp=2") as pair, start(config, tmp_path / "one") as alone:
        (first, said, _), (second, silent, _) = (process.end() for process in pair)
        assert (alone.end().status, first, second) == (0, 0, 0)
    assert "2 x cpu" in said and "written:" in said
    assert not own_lines(silent)
    one, two = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert one.keys() == two.keys() and len(one) == 12
    np.testing.assert_allclose([two[step] for step in one], list(one.values()), rtol=1e-5)
    evaluated = [
        next(row["eval/faces/auc"] for row in read_metrics(tmp_path / name) if "eval/faces/auc" in row)
        for name in ("one", "two")
    ]
    assert evaluated[0] == pytest.approx(evaluated[1], abs=0.02)
    assert sorted(path.name for path in (tmp_path / "two").iterdir() if "tfevents" not in path.name) == sorted(
        path.name for path in (tmp_path / "one").iterdir() if "tfevents" not in path.name
    )
    assert len(list((tmp_path / "two").glob("events.out.tfevents.*"))) == 1


def lose(pair: list[Child], lost: int) -> None:
    """Kill one: the other ends with one line. (jax, after its timeout, would abort it with its own lines.)"""
    left = 1 - lost
    pair[lost].process.kill()
    status, _, error = pair[left].end()
    assert (status, own_lines(error)) == (1, [ANY])
    assert error.splitlines()[-1].startswith(f"error: process {left}: another process of the run is lost (")


@pytest.mark.parametrize("lost", [0, 1])
def test_a_lost_process_ends_the_other(config, tmp_path, lost):
    """Before the first step; jax's runtime would abort the second one with its own lines."""
    with start_two(config, tmp_path / "run", "--config.train.steps=3000") as pair:
        pair[0].line("2 x cpu")
        lose(pair, lost)


@pytest.mark.slow
def test_a_run_resumes_after_a_lost_process(config, tmp_path):
    workdir, command = tmp_path / "run", "--config.train.steps=3000"
    with start_two(config, workdir, command) as pair:
        until(lambda: newest_checkpoint(workdir) >= 8, *pair)
        lose(pair, 0)  # the one that writes

    with start_two(config, workdir, command) as pair:
        resumed_from = int(pair[0].line("resuming from step").split()[3].replace(",", ""))
        assert resumed_from >= 4  # the last one may not have been complete
        until(lambda: any(row["step"] > resumed_from + 4 for row in read_metrics(workdir)), *pair)
        # A signal to either stops both at the same step.
        pair[1].process.send_signal(signal.SIGTERM)
        (first, _, told), (second, _, asked) = (process.end() for process in pair)
    assert (first, second) == (75, 75)
    assert "stopped by a signal to another process after step" in told and "stopped by SIGTERM after step" in asked
    assert losses(workdir)


def test_a_failure_in_one_process_ends_both(config, tmp_path):
    for person in range(4):
        (tmp_path / "faces" / str(person)).mkdir(parents=True)
        for number in range(4):
            pixels = np.full((112, 112, 3), 40 * person + 10 * number, np.uint8)
            Image.fromarray(pixels).save(tmp_path / "faces" / str(person) / f"{number}.png")
    (tmp_path / "elsewhere").mkdir()
    places = (tmp_path, tmp_path / "elsewhere")
    with start_two(config, tmp_path / "run", "--config.data.train=faces", places=places) as pair:
        (first, _, told), (second, _, error) = (process.end() for process in pair)
    assert (first, second) == (1, 2)
    assert "faces" in error and "another process of the run is lost" in told


@pytest.mark.parametrize("index", [0, 1])
def test_a_process_whose_peers_never_come_ends_by_itself(config, tmp_path, index):
    place = f"127.0.0.1:{free_port()}"
    words = (f"--coordinator={place}", "--num_processes=2", f"--process_id={index}", "--join_timeout=2")
    with start(config, tmp_path / "run", *words) as child:
        status, _, error = child.end()
    assert (status, len(own_lines(error))) == (1, 1)
    assert error.startswith("error: the other processes of the run did not connect within 2 s at " + place)
    assert not (tmp_path / "run").exists()


def test_processes_with_other_settings_end_before_anything_is_made(config, tmp_path):
    with start_two(config, tmp_path / "run", second=("--config.train.learning_rate=0.01", "--config.seed=5")) as pair:
        ends = [process.end() for process in pair]
    for status, _, error in ends:
        assert status == 2 and len(own_lines(error)) == 1
        assert "config.seed: 0 in process 0, 5 in process 1; config.train.learning_rate: 0.0001 in process 0" in error
        assert "start all of them alike" in error
    assert not (tmp_path / "run").exists()


def test_no_setting_may_differ_between_processes():
    port = free_port()
    with contextlib.ExitStack() as stack:
        words = (sys.executable, "-m", "tests.distributed.agree", port)
        pair = [stack.enter_context(started(*words, index, env=one_device())) for index in (0, 1)]
        told = [json.loads(own_lines(process.end().error)[-1]) for process in pair]
    assert told[0] == told[1] and len(told[0]) > 80
    for name, said in told[0].items():
        assert said.startswith("the processes of the run differ in their settings (" + name.split(".", 1)[1]), name


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, {}),
        ({"WORLD_SIZE": "1", "RANK": "0", "MASTER_ADDR": "a"}, {}),
        ({"WORLD_SIZE": "4", "RANK": "3", "MASTER_ADDR": "a", "MASTER_PORT": "7"}, ("a:7", 4, 3)),
        ({"WORLD_SIZE": "4", "RANK": "3", "MASTER_ADDR": "a"}, ("a:29500", 4, 3)),
        (
            {"WORLD_SIZE": "2", "RANK": "1", "MASTER_ADDR": "a", "MASTER_PORT": "7"}
            | {"TORCHELASTIC_USE_AGENT_STORE": "True"},  # torchrun itself listens on its port
            ("a:8", 2, 1),
        ),
        ({"JAX_COORDINATOR_ADDRESS": "b:1", "JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "0"}, ("b:1", 2, 0)),
    ],
)
def test_launchers_are_understood(environment, expected):
    found = processes.from_environment(environment)
    assert tuple(found.values()) == tuple(expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a:1", None, None), "belong together"),
        ((None, 2, 0), "belong together"),
        (("a:1", 2, 2), "process 2 of 2: expected a number from 0"),
        (("a:1", 2, -1), "process -1 of 2"),
        (("a", 2, 1), "'a': expected HOST:PORT of the first process"),
        (("a:many", 2, 0), "'a:many': expected HOST:PORT"),
    ],
)
def test_flags_that_make_no_sense_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        processes.join(*arguments)


def test_a_port_that_is_taken_is_refused():
    with (
        listen_for_all(0) as taken,
        pytest.raises(InputError, match=r"cannot listen on this port .*; choose another one"),
    ):
        processes.join(f"127.0.0.1:{taken.getsockname()[1]}", 2, 0)


def test_a_variable_that_is_not_a_number_is_refused():
    with pytest.raises(InputError, match="'WORLD_SIZE': 'many'"):
        processes.from_environment({"MASTER_ADDR": "a", "WORLD_SIZE": "many", "RANK": "0"})


def test_one_process_runs_alone():
    processes.join("127.0.0.1:1", 1, 0)
    assert not processes.several() and processes.primary()
