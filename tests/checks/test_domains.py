"""The doctor on domains: only people with images both in and outside a domain teach the gates more than identity."""

from __future__ import annotations

import numpy as np
import pytest

from adaptface_jax.checks.setup.domains import domains
from adaptface_jax.config.schema import AdapterConfig, Config
from adaptface_jax.data.labels import LabelTable
from adaptface_jax.data.sources.from_path import open_source
from tests.checks.said import NOTE, OK, WARNING, said

PEOPLE, IMAGES = 40, 6
GATED = Config(adapter=AdapterConfig(kind="dalora"))


@pytest.fixture
def source():
    """Forty people with six images each; everyone's first two are in the first domain."""
    source = open_source(f"synthetic:identities={PEOPLE},images={IMAGES},labels=none")
    source.domains = np.zeros((PEOPLE * IMAGES, 2), np.uint8)
    source.domains[np.arange(PEOPLE * IMAGES) % IMAGES < 2, 0] = 1
    source.domain_names = ("pose", "light")
    return source


def light(source, rows) -> tuple:
    """The finding when only these images are in the domain light."""
    source.domains[:, 1] = 0
    source.domains[rows, 1] = 1
    first, second = domains(GATED, source)
    assert said(first) == ("domain pose", OK) and first.what == "80 images of 40 people, 40 of them also outside it"
    return second


def test_a_domain_with_images_of_everybody_is_valid(source):
    assert said(light(source, slice(0, None, 3))) == ("domain light", OK)


def test_a_domain_of_few_people(source):
    finding = light(source, slice(0, 9 * IMAGES, IMAGES))
    assert said(finding) == ("domain light", WARNING) and "9 images of 9 people" in finding.what
    assert finding.numbers == {"images": 9, "people": 9, "both": 9}
    assert said(light(source, slice(0, 10 * IMAGES, IMAGES))) == ("domain light", OK)


def test_a_domain_confounded_with_identity(source):
    finding = light(source, slice(0, 20 * IMAGES))
    assert said(finding) == ("domain light", WARNING) and "identity coincide" in finding.advice
    assert finding.numbers["both"] == 0


def test_an_image_without_a_row_is_not_outside_a_domain(source):
    listed = np.zeros(PEOPLE * IMAGES, bool)
    listed[::IMAGES] = True
    source.table = LabelTable({}, listed, "t.csv")
    first, _ = domains(GATED, source)
    assert said(first) == ("domain pose", WARNING) and first.numbers["both"] == 0


def test_domains_and_labels_that_nothing_uses(source):
    lora = Config(adapter=AdapterConfig(kind="lora"))
    assert said(next(domains(lora, source))) == ("domains", NOTE)
    source.domains, source.label_columns = None, ("pose", "age")
    (finding,) = domains(GATED, source)
    assert said(finding) == ("domains", NOTE) and "pose, age" in finding.what
    source.label_columns = ()
    assert not list(domains(GATED, source))
