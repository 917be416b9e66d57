"""What a run prints about its domains, what it refuses, and what it records."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from adaptface_jax.config.schema import AdapterConfig, Config, DataConfig
from adaptface_jax.core.errors import InputError
from adaptface_jax.data.sources.from_path import open_training
from adaptface_jax.training.recognition.domains import check_domains, domain_lines
from adaptface_jax.training.recognition.run import make_record
from adaptface_jax.training.run import check_same, read_record, write_record

GENERATED = "synthetic:identities=4,images=6"


def config(kind: str = "dalora", data: dict | None = None, **adapter) -> Config:
    given = {"train": GENERATED} | (data or {})
    return Config(adapter=AdapterConfig(kind=kind, **adapter), data=DataConfig(**given))


def lines(given: Config) -> list[str]:
    return domain_lines(given, open_training(given.data))


def test_the_header_counts_the_domains():
    assert lines(config()) == [
        "domains   pose 8, age 8, light 8 of 24 images (0 in several, 0 in none or unknown)"
    ]  # fmt: skip
    (line,) = lines(config(data={"domains": "pose:condition=pose; ordinary"}))
    assert line == "domains   pose 8, ordinary 16 of 24 images (0 in several, 0 unknown)"


def test_it_reports_when_nothing_is_learned_from_them():
    assert lines(config("lora"))[0].endswith("; they are not used: adapter.kind=lora has no gates")
    assert lines(config(domain_loss_weight=0.0))[0].endswith("; they are not used: adapter.domain_loss_weight=0")
    assert lines(config(data={"train": GENERATED + ",labels=none"})) == []


def test_it_reports_unused_labels_and_images_without_a_row(tmp_path):
    for name in ("anna/1.png", "anna/2.png", "bert/1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "labels.csv").write_text("path,pose,age\nanna/1.png,left,\nbert/1.png,frontal,old\n")
    assert lines(config(data={"train": str(tmp_path)})) == [
        "labels    pose, age: not used, since data.domains is empty"
    ]
    (line,) = lines(config(data={"train": str(tmp_path), "domains": "pose=left; age=old"}))
    assert line.endswith(f"; 1 image without a row in {tmp_path / 'labels.csv'}")


def test_there_must_be_an_expert_for_each_domain():
    two = config(data={"domains": "pose:condition=pose; ordinary"})
    expected = (
        r"^adapter\.num_domains: 3 experts, and the images have 2 domains \(pose, ordinary\); expected one expert per "
        r"domain: set adapter\.num_domains=2, or data\.domains$"
    )
    with pytest.raises(InputError, match=expected):
        check_domains(two, open_training(two.data))
    for fits in (config("lora"), config(num_domains=5, domain_loss_weight=0.0), config()):
        check_domains(fits, open_training(two.data if fits.adapter.kind == "lora" else fits.data))


def record(given: Config) -> dict:
    model = SimpleNamespace(identity={"source": "made"}, start=None, stored_size=112)
    return make_record(given, model, open_training(given.data))  # type: ignore[arg-type]


def test_the_record_of_a_run_knows_domains_only_where_the_setting_made_them():
    assert set(record(config())["data"]) == {
        "source", "images", "classes", "class_names_sha256", "keys_sha256", "labels_sha256",
    }  # fmt: skip
    made = record(config(data={"domains": "pose:condition=pose; ordinary"}))["data"]
    assert made["domains"] == ["pose", "ordinary"] and len(made["domains_sha256"]) == 64


def test_a_run_whose_labels_changed_is_refused_wherever_the_table_is(tmp_path, capsys):
    keys = [f"seed1/{person:05d}/{picture:04d}" for person in range(4) for picture in range(6)]
    rows = [f"{key},{'left' if number % 3 else 'up'}" for number, key in enumerate(keys)]
    for name in ("one", "moved"):
        (tmp_path / f"{name}.csv").write_text("\n".join(["key,pose", *rows]))
    (tmp_path / "changed.csv").write_text("\n".join(["key,pose", *rows[:-1], f"{keys[-1]},up"]))

    def of(name: str) -> dict:
        return record(config(data={"labels": str(tmp_path / f"{name}.csv"), "domains": "pose=left; ordinary"}))

    write_record(tmp_path, of("one"))
    check_same(tmp_path, read_record(tmp_path), of("one"))
    check_same(tmp_path, read_record(tmp_path), of("moved"), override=True)
    with pytest.raises(InputError, match=r"data\.domains_sha256 was .*cannot change within a run"):
        check_same(tmp_path, read_record(tmp_path), of("changed"), override=True)
    capsys.readouterr()


def test_an_older_record_has_no_domains_and_is_the_same_run(tmp_path):
    new = record(config())
    old = json.loads(json.dumps(new))
    del old["config"]["data"]["labels"], old["config"]["data"]["domains"]
    write_record(tmp_path, old)
    check_same(tmp_path, read_record(tmp_path), new)
