"""The scalars at Weights & Biases, a network service: here a module that records what it receives."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from adaptface_jax.core.errors import InputError
from adaptface_jax.training.monitor import Monitor, read_metrics
from adaptface_jax.training.trackers import ID_FILE, open_online, require


class Service(ModuleType):
    """What `import wandb` gives: runs that store what is logged."""

    def __init__(self) -> None:
        super().__init__("wandb")
        self.__spec__ = SimpleNamespace(name="wandb")
        self.opened: list[dict] = []
        self.logged: list[tuple[int, dict]] = []
        self.summary: dict = {}
        self.finished = 0
        self.refusal: Exception | None = None

    def init(self, **settings):
        if self.refusal:
            raise self.refusal
        self.opened.append(settings)
        return self

    def log(self, values: dict, step: int) -> None:
        self.logged.append((step, values))

    def finish(self) -> None:
        self.finished += 1


@pytest.fixture
def service(monkeypatch) -> Service:
    made = Service()
    monkeypatch.setitem(sys.modules, "wandb", made)
    return made


def test_it_gets_the_same_numbers_as_metrics_jsonl(service, tmp_path):
    with Monitor(tmp_path, online=open_online(True, tmp_path, {"seed": 3})) as monitor:
        monitor.scalars(1, {"train/loss": 2.5})
        monitor.scalars(2, {"train/loss": 2.0, "eval/faces/accuracy": 0.75})
        monitor.hparams({"seed": 3}, {"eval/faces/accuracy": 0.75})
    assert [{"step": step, **values} for step, values in service.logged] == read_metrics(tmp_path)
    assert service.opened[0]["config"] == {"seed": 3} and service.opened[0]["name"] == tmp_path.name
    assert service.summary == {"eval/faces/accuracy": 0.75}
    assert service.finished == 1


def test_a_resumed_run_is_the_same_run_there(service, tmp_path):
    for _ in range(2):
        with Monitor(tmp_path, online=open_online(True, tmp_path, {})):
            pass
    first, second = service.opened
    assert first["id"] == second["id"] == (tmp_path / ID_FILE).read_text().strip()
    assert second["resume"] == "allow"


def test_an_unreachable_service_gives_one_line(service, tmp_path):
    service.refusal = RuntimeError("api_key not configured\nmore words")
    with pytest.raises(InputError, match=r"api_key not configured\); run `wandb login`"):
        open_online(True, tmp_path, {})


def test_a_missing_package_is_named_with_its_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'adaptface_jax\[wandb\]'"):
        require(True)
    require(False)


def test_nothing_is_sent_unasked(tmp_path):
    assert open_online(False, Path("nowhere"), {}) is None
    assert "wandb" not in sys.modules
