"""Checkpoints: what is kept, what is believed, and what a failed save does."""

from __future__ import annotations

import os
import shutil
import subprocess

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from adaptface_jax.core import manifest
from adaptface_jax.core.errors import InputError, RunError
from adaptface_jax.distributed.mesh import make_mesh, sharding
from adaptface_jax.losses.margin import init_statistics
from adaptface_jax.training.checkpoint import SET_ASIDE, Checkpoints
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


def test_the_latest_and_the_best_are_kept(tmp_path, say):
    folder = fill(tmp_path, say, [0.5, 0.9, None, 0.7, 0.6, None])
    assert steps(folder) == [2, 5, 6]
    with opened(tmp_path, say) as checkpoints:
        assert (checkpoints.latest(), checkpoints.best()) == (6, 2)
        assert [checkpoints.score(step) for step in (2, 5, 6)] == [0.9, 0.6, None]
        assert [checkpoints.choose(which) for which in ("latest", "best", "5")] == [6, 2, 5]
        with pytest.raises(InputError, match="'4' is not there; expected best, latest or one of the steps 2, 5, 6"):
            checkpoints.choose("4")
    assert say == []


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
def test_a_damaged_step_is_named_and_set_aside_and_the_one_before_used(tmp_path, say, damage):
    folder = fill(tmp_path, say, [0.7, 0.6, 0.9], keep=3)
    damage(folder / "3")
    with opened(tmp_path, say) as checkpoints:
        assert checkpoints.latest() == 2
        assert checkpoints.best() == 1
        # The step's number is free again.
        checkpoints.save(3, state(33), 0.8)
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


def test_what_a_killed_save_left_goes(tmp_path, say):
    folder = fill(tmp_path, say, [None])
    (folder / "2.orbax-checkpoint-tmp").mkdir()
    with opened(tmp_path, say) as checkpoints:
        assert checkpoints.latest() == 1
    assert steps(folder) == [1] and not list(folder.glob("*tmp*"))


def test_a_failed_save_is_said_and_later_saves_go_on(tmp_path, say, monkeypatch):
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


def test_a_save_that_cannot_even_start_is_not_taken_for_a_complete_one(tmp_path, say):
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
