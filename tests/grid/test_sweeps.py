"""What `--sweep` accepts: values, lists, ranges; the names of sub-runs; what is refused."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptface_jax.config.classification import ClassificationConfig
from adaptface_jax.config.schema import Config
from adaptface_jax.core.errors import InputError
from adaptface_jax.grid.sweeps import LONGEST, Range, Values, applied, name_of, parse_sweeps, product, split_values

FACES, CLASSES = Config(), ClassificationConfig()


def parsed(*texts: str, config=FACES, drawn: bool = False):
    return parse_sweeps(texts, config, drawn)


def test_the_order_is_that_of_the_product():
    sweeps = parsed("train.learning_rate=1e-4,1e-3", "adapter.rank=2,4")
    names = [name_of(choice, FACES) for choice in product(sweeps)]
    assert names == [
        "learning_rate=0.0001,rank=2", "learning_rate=0.0001,rank=4",
        "learning_rate=0.001,rank=2", "learning_rate=0.001,rank=4",
    ]  # fmt: skip


def test_values_with_commas_go_in_parentheses():
    (sweep,) = parsed("model.blocks=(2,2,2),(3,3,3)", config=CLASSES)
    assert sweep == Values("model.blocks", ("(2,2,2)", "(3,3,3)"))
    assert [name_of(choice, CLASSES) for choice in product([sweep])] == ["blocks=2-2-2", "blocks=3-3-3"]
    assert applied(CLASSES, {"model.blocks": "(3,3,3)"}).model.blocks == (3, 3, 3)


@given(st.lists(st.lists(st.integers(0, 99), min_size=1, max_size=3), min_size=1, max_size=4))
def test_lists_come_back_as_they_were_written(lists):
    texts = [f"({','.join(map(str, numbers))})" for numbers in lists]
    assert split_values(",".join(texts)) == texts


@given(st.lists(st.floats(1e-9, 1.0), min_size=1, max_size=8, unique=True))
def test_different_numbers_have_different_names(rates):
    names = [name_of({"train.learning_rate": repr(rate)}, FACES) for rate in rates]
    assert len(set(names)) == len(names)


@given(st.text(min_size=1, max_size=200).filter(lambda text: text.lower() != "none"))
def test_names_are_safe_as_folders(text):
    name = name_of({"data.train": text}, FACES)
    assert re.fullmatch(r"train=[A-Za-z0-9._+=-]*", name) and len(name) <= LONGEST + 9


def test_what_a_name_cannot_show_still_distinguishes_sub_runs():
    paths = ["/data/a b", "/data/a_b", "/data/a/b", "/data/a" + "x" * 300, "/data/a" + "x" * 301]
    assert len({name_of({"data.train": path}, FACES) for path in paths}) == len(paths)


def test_a_name_does_not_depend_on_how_a_value_is_written():
    assert len({name_of({"train.learning_rate": text}, FACES) for text in ("1e-3", "0.001", "0.0010")}) == 1


def test_settings_of_the_same_last_name_are_named_in_full():
    choice = {"train.batch_size": "32", "eval.batch_size": "64"}
    assert name_of(choice, FACES) == "train.batch_size=32,eval.batch_size=64"


def test_ranges_are_logarithmic_from_a_factor_of_ten_and_integers_stay_integers():
    rate, rank, dropout = parsed(
        "train.learning_rate=1e-5..1e-2", "adapter.rank=2..16", "adapter.dropout=0..0.5", drawn=True
    )
    assert rate == Range("train.learning_rate", 1e-5, 1e-2, whole=False) and rate.log
    assert rank == Range("adapter.rank", 2, 16, whole=True) and not rank.log and rank.text(7) == "7"
    assert not dropout.log and dropout.text(0.123456) == "0.1235"


@given(st.floats(1.23456e-5, 9.87654e-2))
def test_a_drawn_value_stays_within_the_ends(value):
    sweep = Range("train.learning_rate", 1.23456e-5, 9.87654e-2, whole=False)
    assert sweep.low <= float(sweep.text(value)) <= sweep.high


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["adapter.rnak=2,4"], "did you mean adapter.rank"),
        (["adapter.rank=2,x"], "'x' is not a whole number"),
        (["adapter.rank=2,2"], "2 is given twice"),
        (["train.learning_rate=1e-3,0.001"], "0.001 is given twice"),
        (["adapter.rank=2,,4"], "empty value"),
        (["adapter.rank"], "NAME=VALUE,VALUE"),
        (["adapter.rank="], "NAME=VALUE,VALUE"),
        (["adapter.rank=2", "adapter.rank=4"], "given twice"),
        (["adapter.rank=2..8"], "--trials"),
        (["task=recognition"], "same for all runs"),
        (["data.benchmarks.lfw=/a,/b"], "same for all runs"),
    ],
)
def test_bad_sweeps_are_named(texts, expected):
    with pytest.raises(InputError, match=re.escape(expected)) as error:
        parsed(*texts)
    assert str(error.value).startswith("--sweep") and "\n" not in str(error.value)


def test_a_range_must_have_two_ends_in_order():
    for text in ("adapter.rank=8..2", "adapter.rank=2..2", "train.learning_rate=a..1"):
        with pytest.raises(InputError, match="--sweep"):
            parsed(text, drawn=True)


def test_settings_that_contradict_each_other_are_named_with_their_sub_run():
    with pytest.raises(InputError, match=r"--sweep: grad_accum=3: train.grad_accum: 3 does not divide"):
        applied(FACES, {"train.grad_accum": "3"})
    with pytest.raises(InputError, match=r"out of range"):
        applied(FACES, {"adapter.rank": "0"})
