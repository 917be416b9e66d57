# SPDX-License-Identifier: Apache-2.0
"""Checkpoints: what is kept, what is trusted, and what a failed save does."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from adaptface_jax.config.schema import Config
from adaptface_jax.core import manifest, trees
from adaptface_jax.core.errors import InputError, RunError
from adaptface_jax.core.json_io import to_json
from adaptface_jax.distributed.mesh import make_mesh, sharding
from adaptface_jax.losses.margin import init_statistics
from adaptface_jax.training.averaging import Averaged, used
from adaptface_jax.training.checkpoint import SET_ASIDE, Checkpoints, check_recorded
from adaptface_jax.training.early_stopping import Course
from adaptface_jax.training.run import STORED
from adaptface_jax.training.step import TrainState


def state(value: float, width: int = 64) -> TrainState:
    trainable = {"adapter": {"a": jnp.full((width, 8), value)}, "head": jnp.arange(8.0) + value}
    made = TrainState(jnp.int32(value), trainable, (trainable,), init_statistics(), jnp.int32(0), jnp.int32(0))
    return jax.device_put(made, sharding(make_mesh()))


@pytest.fixture
def say():
    return []


def opened(folder, say, **more):
    return Checkpoints(folder / "checkpoints", say=say.append, **more)


def fill(folder, say, accuracies, keep=2):
    """Saves of the steps 1, 2, ..."""
    with opened(folder, say, keep=keep) as checkpoints:
        for step, accuracy in enumerate(accuracies, 1):
            checkpoints.save(step, state(step), accuracy)
    return folder / "checkpoints"


def steps(folder):
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdecimal())


def test_a_state_comes_back_bit_for_bit_on_any_mesh(tmp_path, say):
    fill(tmp_path, say, [None])
    with opened(tmp_path, say, read_only=True) as checkpoints:
        for devices in (8, 2, 1):
            mesh = jax.sharding.Mesh(np.array(jax.devices()[:devices]), ("data",))
            like = jax.device_put(state(0), jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec()))
            found = checkpoints.restore(1, like)
            jax.tree.map(np.testing.assert_array_equal, found, state(1))
            assert {leaf.sharding.mesh.size for leaf in jax.tree.leaves(found)} == {devices}


def test_a_model_is_read_without_the_class_centers_and_the_optimizers_own_state(tmp_path, say):
    trained = {"head": jnp.arange(4.0), "centers": jnp.ones((50, 3))}
    averages = Averaged({"mu": trained}, {"head": jnp.full(4, 0.5)}, jnp.int32(1))
    whole = dataclasses.replace(state(1.0), trainable=trained, opt_state=averages)
    whole = jax.device_put(whole, sharding(make_mesh()))
    with opened(tmp_path, say) as checkpoints:
        checkpoints.save(1, whole)
    with opened(tmp_path, say, read_only=True) as checkpoints:
        found = checkpoints.restore(1, whole, model_only=True)
        np.testing.assert_array_equal(found.trainable["head"], trained["head"])
        np.testing.assert_array_equal(found.opt_state.average["head"], averages.average["head"])
        assert used(found.trainable, found.opt_state)["head"][0] == 0.5
        unread = (found.trainable["centers"], *found.opt_state.rule["mu"].values(), found.opt_state.updates)
        assert all(leaf is ... for leaf in unread)
        # They are compared with what the run should have all the same.
        wider = dataclasses.replace(whole, trainable=trained | {"centers": jnp.ones((50, 4))})
        with pytest.raises(InputError, match=r"trainable\.\w+ is float32 \[50, 3\], expected float32 \[50, 4\]"):
            checkpoints.restore(1, wider, model_only=True)


def test_the_latest_and_the_best_are_kept(tmp_path, say):
    folder = fill(tmp_path, say, [0.5, 0.9, None, 0.7, 0.6, None])
    assert steps(folder) == [2, 5, 6]
    with opened(tmp_path, say) as checkpoints:
        assert (checkpoints.latest(), checkpoints.best()) == (6, 2)
        assert [checkpoints.score(step) for step in (2, 5, 6)] == [0.9, 0.6, None]
        assert [checkpoints.choose(which) for which in ("latest", "best", "5")] == [6, 2, 5]
        with pytest.raises(InputError, match="'4' does not exist; expected best, latest or one of 2, 5, 6"):
            checkpoints.choose("4")
    assert say == []


def test_a_step_on_which_a_guarded_benchmark_fell_is_the_best_only_if_all_did(tmp_path, say):
    with opened(tmp_path, say, keep=1) as checkpoints:
        checkpoints.save(1, state(1), 0.9, Course().after(0.9, "lfw"))
        assert checkpoints.wait() and checkpoints.choose("best") == 1
        checkpoints.save(2, state(2), 0.8, Course().after(0.8))
        checkpoints.save(3, state(3), 0.95, Course().after(0.95, "lfw"))
        assert checkpoints.wait() and checkpoints.choose("best") == 2
    assert steps(tmp_path / "checkpoints") == [2, 3]
    assert say == [
        "best: step 1, although lfw fell (eval.guard), as in all that are kept",
        "best: step 2, since lfw fell at step 3, which scores higher (eval.guard)",
    ]


def test_a_score_with_a_guarded_benchmark_that_fell_is_no_better_one():
    course = Course().after(0.8).after(0.9, "lfw")
    assert (course.best, course.since, course.fell) == (0.8, 1, "lfw")
    assert course.after(0.85) == Course(0.85)


def test_an_accuracy_may_come_later(tmp_path, say):
    fill(tmp_path, say, [0.5, None])
    with opened(tmp_path, say) as checkpoints:
        checkpoints.save(2, state(2), 0.8)
        assert checkpoints.best() == 2


def biggest(folder):
    return max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)


DAMAGE = {
    "flipped byte": lambda folder: flip(biggest(folder)),
    "zeroed block": lambda folder: biggest(folder).write_bytes(bytes(biggest(folder).stat().st_size)),
    "truncated": lambda folder: os.truncate(biggest(folder), biggest(folder).stat().st_size // 2),
    "missing file": lambda folder: biggest(folder).unlink(),
    "bare folder": lambda folder: [shutil.rmtree(folder), folder.mkdir(), (folder / "default").mkdir()],
    "empty folder": lambda folder: [shutil.rmtree(folder), folder.mkdir()],
    "no manifest": lambda folder: (folder / manifest.NAME).unlink(),
    "damaged manifest": lambda folder: flip(folder / manifest.NAME),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_corrupted_step_is_named_and_set_aside_and_the_previous_one_used(tmp_path, say, damage):
    folder = fill(tmp_path, say, [0.7, 0.6, 0.9], keep=3)
    damage(folder / "3")
    with opened(tmp_path, say) as checkpoints:
        assert checkpoints.latest() == 2
        assert checkpoints.best() == 1
        # The step's number is free again.
        checkpoints.save(3, dataclasses.replace(state(33), step=jnp.int32(3)), 0.8)
    assert len(say) == 1 and say[0].startswith("checkpoint 3 is not used: ") and f"{SET_ASIDE}/3" in say[0]
    assert (folder / SET_ASIDE / "3").is_dir()
    with opened(tmp_path, say, read_only=True) as checkpoints:
        assert float(checkpoints.restore(checkpoints.latest(), state(0)).trainable["head"][0]) == 33


def test_reading_moves_nothing(tmp_path, say):
    folder = fill(tmp_path, say, [None, None])
    flip(biggest(folder / "2"))
    with opened(tmp_path, say, read_only=True) as checkpoints:
        assert checkpoints.latest() == 1
        with pytest.raises(InputError, match="step 2 is damaged: the content of"):
            checkpoints.choose("2")
    assert steps(folder) == [1, 2] and not (folder / SET_ASIDE).exists()
    assert say == [line for line in say if "set aside" not in line]


def test_remains_of_a_killed_save_are_removed(tmp_path, say):
    folder = fill(tmp_path, say, [None])
    (folder / "2.orbax-checkpoint-tmp").mkdir()
    with opened(tmp_path, say) as checkpoints:
        assert checkpoints.latest() == 1
    assert steps(folder) == [1] and not list(folder.glob("*tmp*"))


def test_a_failed_save_is_reported_and_later_saves_continue(tmp_path, say, monkeypatch):
    real, failures = manifest.write_manifest, [OSError(5, "Input/output error")]

    def fails_once(folder, facts):
        if failures:
            raise failures.pop()
        return real(folder, facts)

    monkeypatch.setattr("adaptface_jax.training.checkpoint.write_manifest", fails_once)
    with opened(tmp_path, say) as checkpoints:
        checkpoints.save(1, state(1))
        assert not checkpoints.wait()
        (line,) = say
        assert line.startswith("step 1 could not be saved (Input/output error); there is no complete")
        checkpoints.save(2, state(2))
        assert checkpoints.wait()
        assert checkpoints.latest() == 2


def test_a_save_that_cannot_even_start_does_not_count_as_complete(tmp_path, say):
    with opened(tmp_path, say) as checkpoints:
        folder = tmp_path / "checkpoints"
        folder.rmdir()
        checkpoints.save(1, state(1))
        (line,) = say
        assert line.startswith("step 1 could not be saved (")
        assert not checkpoints.wait() and not checkpoints.wait()
        folder.mkdir()
        checkpoints.save(2, state(2))
        assert checkpoints.wait()


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 1 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mount.returncode:
        pytest.skip("a small disk needs the right to mount one")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_ends_the_run_with_the_last_checkpoint_intact(small_disk, say):
    def noisy(step):
        made = state(step, 1)
        noise = jnp.asarray(np.random.default_rng(step).random((256, 256)), jnp.float32)  # 256 KiB
        trainable = {**made.trainable, "noise": jax.device_put(noise, sharding(make_mesh()))}
        return TrainState(made.step, trainable, (), made.statistics, made.skipped, made.skipped_in_a_row)

    saved = []
    with opened(small_disk, say, keep=9) as checkpoints:

        def save_all():
            for step in range(1, 9):
                checkpoints.save(step, noisy(step))
                checkpoints.wait()
                saved.append(step)

        with pytest.raises(RunError, match=r"the disk is full, step \d could not be saved; the last complete"):
            save_all()
        assert saved and steps(small_disk / "checkpoints") == saved
    with opened(small_disk, say) as checkpoints:
        assert checkpoints.latest() == saved[-1]
        found = checkpoints.restore(saved[-1], noisy(0))
        jax.tree.map(np.testing.assert_array_equal, found, noisy(saved[-1]))
    assert say == []


def test_a_renamed_step_does_not_count_as_that_step(tmp_path, say):
    folder = fill(tmp_path, say, [None, None])
    (folder / "2").rename(folder / "100")
    with (
        opened(tmp_path, say) as checkpoints,
        pytest.raises(InputError, match=r"100: contains step 2, .*rename it to 2"),
    ):
        checkpoints.latest()
    with opened(tmp_path, say, read_only=True) as checkpoints:
        assert checkpoints.latest() == 1
    assert say == [f"{folder / '100'}: contains step 2, so it was renamed; rename it to 2"]
    (folder / "100").rename(folder / "002")  # a name that is never used
    with opened(tmp_path, say) as checkpoints:
        assert checkpoints.latest() == 1


def test_a_state_is_of_the_step_that_its_folder_says(tmp_path, say):
    with opened(tmp_path, say) as checkpoints:
        checkpoints.save(3, state(1))
        checkpoints.wait()
        with pytest.raises(InputError, match="contains the state after step 1, not 3"):
            checkpoints.restore(3, state(0))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"adapter": {"a": jnp.zeros((64, 4))}, "head": jnp.zeros(8)}, r"adapter.a is float32 \[64, 8\], .*\[64, 4\]"),
        ({"adapter": {"a": jnp.zeros((64, 8))}}, "head is not part of this run"),
        ({"adapter": {"a": jnp.zeros((64, 8)), "b": jnp.zeros(2)}, "head": jnp.zeros(8)}, "adapter.b is missing"),
        (
            {"adapter": {"a": jnp.zeros((64, 8))}, "head": jnp.zeros(8, jnp.int32)},
            r"head is float32 \[8\], expected int32",
        ),
    ],
)
def test_other_trees_are_refused_and_never_cut_to_size(tmp_path, say, changes, said):
    with opened(tmp_path, say) as checkpoints:
        checkpoints.save(1, state(1.0))
    with opened(tmp_path, say, read_only=True) as checkpoints, pytest.raises(InputError, match=said):
        checkpoints.restore(1, dataclasses.replace(state(1.0), trainable=changes))


BACKBONE, DATA = {"name": "made"}, {"classes": 4}
RECORD = json.loads(to_json({"config": dataclasses.asdict(Config()), "backbone": BACKBONE, "data": DATA, STORED: 112}))


def changed(name, value):
    flat = trees.flatten(RECORD, ".") | {name: value}
    return traverse_util.unflatten_dict(flat, ".")


@pytest.mark.parametrize("name", ["config.train.epochs", "config.data.max_bad_records", "config.data.threads"])
def test_a_step_keeps_the_record_of_its_run_which_may_change_harmlessly(tmp_path, say, name):
    with opened(tmp_path, say, record=RECORD) as checkpoints:
        checkpoints.save(1, state(1))
    assert json.loads((tmp_path / "checkpoints" / "1" / "run.json").read_text()) == RECORD
    with opened(tmp_path, say, record=changed(name, 7)) as checkpoints:
        checkpoints.restore(1, state(0))


@pytest.mark.parametrize("name", ["config.adapter.rank", "config.train.learning_rate", "data.classes", "config.seed"])
def test_a_step_of_another_run_is_refused_with_the_way_back(tmp_path, say, name):
    with opened(tmp_path, say, record=RECORD) as checkpoints:
        checkpoints.save(1, state(1))
    said = rf"different settings \({name} was .*, now 7(.0)?\).*cp .*/1/run.json"
    with opened(tmp_path, say, record=changed(name, 7)) as checkpoints, pytest.raises(InputError, match=said):
        checkpoints.restore(1, state(0))


def test_without_its_record_a_run_does_not_start_over(tmp_path, say):
    check_recorded(tmp_path)  # nothing was trained
    with opened(tmp_path, say, record=RECORD) as checkpoints:
        checkpoints.save(1, state(1))
    copy = tmp_path / "checkpoints" / "1" / "run.json"
    with pytest.raises(InputError, match=rf"run.json is missing; restore it with: cp {copy} {tmp_path / 'run.json'}"):
        check_recorded(tmp_path)
    shutil.copy(copy, tmp_path)
    check_recorded(tmp_path)
