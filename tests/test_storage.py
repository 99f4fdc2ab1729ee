"""A study's journal file: what it costs, and what a kill leaves."""

import os
from pathlib import Path

import optuna
import pytest

from sweeper.errors import StudyError
from sweeper.study.storage import journal_url, open_patiently, open_storage


def test_a_journal_waits_for_the_disk_when_a_trial_starts_and_when_it_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its parameters, attributes and epochs are written at once, but are not waited for."""
    syncs: list[int] = []
    monkeypatch.setattr(os, "fsync", syncs.append)
    url = journal_url(tmp_path / "journal.log")
    study = optuna.create_study(storage=open_storage(url), study_name="one")
    before = len(syncs)
    trial = study.ask()
    started = len(syncs)
    assert started - before <= 2
    values = [trial.suggest_float(str(number), 0, 1) for number in range(20)]
    trial.report(0.5, 1)
    trial.set_user_attr("size", 3)
    assert len(syncs) == started
    (read,) = optuna.load_study(storage=open_storage(url), study_name="one").get_trials()
    assert list(read.params.values()) == values
    assert read.intermediate_values == {1: 0.5}
    study.tell(trial, 1.0)
    assert len(syncs) == started + 1


@pytest.mark.parametrize("scheme", ["journal://", "sqlite:///"])
def test_a_job_on_a_host_without_the_studys_file_says_so(tmp_path: Path, scheme: str) -> None:
    """It creates no empty study there: it names the host, the file, and the storage that hosts can share."""
    with pytest.raises(StudyError, match=r"must run where its file is, but host \S+ has no .*missing/one"):
        open_patiently(f"{scheme}{tmp_path}/missing/one")
    assert not (tmp_path / "missing").exists()
