# SPDX-License-Identifier: Apache-2.0
"""The file of what a run saw of each record."""

from __future__ import annotations

import numpy as np

from adaptface_jax.data.witness import ROW, SeenRecords, read_rows


def rows(*images: int) -> np.ndarray:
    found = np.zeros(len(images), ROW)
    found["image"], found["label"] = images, 7
    return found


def test_a_record_that_is_read_again_with_another_content_is_noticed(tmp_path):
    path = tmp_path / "evidence.records"
    seen = SeenRecords(path, 5)
    seen(np.array([3, 0, 1]), rows(30, 10, 11))
    seen(np.array([3, 4]), rows(30, 40))
    assert seen.changed == set(), "the same content, and what was not read before"
    seen.close()
    seen = SeenRecords(path, 5)
    seen(np.array([0, 3, 4, 2]), rows(10, 31, 0, 20))  # 0: a record that could not be read
    assert seen.changed == {3}
    seen.close()
    assert read_rows(path)["image"].tolist() == [10, 11, 20, 31, 40]
