# SPDX-License-Identifier: Apache-2.0
"""A DA-LoRA run with thresholds and an index of two people, opened once and answering in this process."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import adaptface_jax as af
from adaptface_jax.api.rule import known_rules
from tests.made_runs import write_run_with_thresholds

Ask = Callable[..., Any]


def png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="session")
def crops() -> np.ndarray:
    """uint8 [4, 112, 112, 3]."""
    return np.random.default_rng(3).integers(0, 256, (4, 112, 112, 3), dtype=np.uint8)


@pytest.fixture(scope="session")
def files(crops) -> list[bytes]:
    """The crops as PNG."""
    return [png(crop) for crop in crops]


@pytest.fixture(scope="session")
def run(tmp_path_factory) -> Path:
    return write_run_with_thresholds(tmp_path_factory.mktemp("runs") / "dalora")


@pytest.fixture(scope="session")
def model(run) -> af.FaceModel:
    return af.open(run, batch_size=2)


@pytest.fixture(scope="session")
def people(model, crops, tmp_path_factory) -> Path:
    """The folder of an index of anna and bert, crops 0 and 1."""
    folder = tmp_path_factory.mktemp("people") / "people.idx"
    index = model.index()
    index.add("anna", crops[0])
    index.add("bert", crops[1])
    index.save(folder)
    return folder


@pytest.fixture(scope="session")
def answers(run, model, people):
    from adaptface_jax.serve.answers import Answers

    result = Answers(model, model.rule(), known_rules(run / "results.json"), model.load_index(people, align=False))
    result.warm_up()
    return result


def asked(app: Any, method: str, path: str, host: str = "127.0.0.1", **options: Any) -> Any:
    """The answer of an ASGI application."""
    import httpx

    async def ask() -> Any:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}") as client:
            return await client.request(method, path, **options)

    return asyncio.run(ask())


@pytest.fixture(scope="session")
def ask(answers) -> Ask:
    """ask(method, path, ...) -> the answer."""
    from adaptface_jax.serve.app import application

    app = application(answers)
    return lambda *words, **options: asked(app, *words, **options)
