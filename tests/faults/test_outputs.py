"""Every flag that names an output, at every kind of unwritable place."""

from __future__ import annotations

from tests.faults.outputs import trials
from tests.faults.trial import Tally


def test_no_command_starts_for_an_output_it_cannot_write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tally = Tally().run(trials(tmp_path))
    assert not tally.wrong, "\n".join(tally.wrong)
    assert tally.trials.total() >= 200
    assert (tmp_path / "file").read_text() == "kept" and not any((tmp_path / "folder").iterdir())
    assert {path.name for path in tmp_path.iterdir() if path.name != "inner"} == set(
        "dangling file folder loop pipe".split()
    )
    assert all(len(list(place.iterdir())) == 1 for place in (tmp_path / "inner").iterdir())
