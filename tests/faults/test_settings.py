"""Every setting: valid values come back unchanged from a run's record, invalid ones never pass the check."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adaptface_jax.config import overrides
from adaptface_jax.config.classification import ClassificationConfig
from adaptface_jax.config.schema import Config
from adaptface_jax.core import trees
from adaptface_jax.core.errors import InputError
from adaptface_jax.core.json_io import to_json
from adaptface_jax.models.settings import checked
from adaptface_jax.models.specs import BACKBONES
from adaptface_jax.training.run import read_record, recorded_config, write_record
from tests.faults.settings import KINDS, OWN, fields, trees_of, trials, wrong_values
from tests.faults.trial import Tally


@pytest.mark.parametrize("task", KINDS)
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(st.data())
def test_valid_settings_come_back_from_the_record_as_they_were(task, tmp_path, data):
    config = overrides.freeze(data.draw(trees_of(task)))
    record = json.loads(to_json({"config": dataclasses.asdict(config), "backbone": {}, "data": {"classes": 2}}))
    write_record(tmp_path, record)
    text = (tmp_path / "run.json").read_text(encoding="utf-8")
    assert json.loads(text, parse_constant=pytest.fail) == record
    assert recorded_config(tmp_path, read_record(tmp_path)) == config


@pytest.mark.parametrize("task", KINDS)
def test_invalid_values_are_refused_by_the_name_of_the_setting(task):
    plain = json.loads(to_json(dataclasses.asdict(KINDS[task]())))
    count = 0
    for name, (kind, field) in fields(KINDS[task]).items():
        for value in wrong_values(kind, field):
            section, _, leaf = name.rpartition(".")
            tree = json.loads(json.dumps(plain))
            (tree[section] if section else tree)[leaf] = value
            with pytest.raises(InputError) as caught:
                checked(tree)
            said = str(caught.value)
            assert name in said and "\n" not in said and len(said) < 400, (name, value, said)
            count += 1
    assert count > 200


def test_the_schema_is_covered():
    assert set(OWN) <= set(fields(Config)) | set(fields(ClassificationConfig))
    assert {"demo", "dinov2_vits14"} <= set(BACKBONES)
    assert len(trees.flatten(json.loads(to_json(dataclasses.asdict(Config()))), ".")) > 60


def test_command_lines_of_random_settings(tmp_path):
    tally = Tally().run(trials(tmp_path, count=40, seed=0))
    assert not tally.wrong, "\n".join(tally.wrong)
    assert tally.trials.total() == 40 and not (tmp_path / "run").exists()
