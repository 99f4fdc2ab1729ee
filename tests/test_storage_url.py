"""A storage's URL that cannot be used: one line with the rule and the fix, and no part of a password."""

import pytest

from sweeper.errors import StudyError
from sweeper.reading.storage_reader import StorageReader
from sweeper.study.storage import open_storage
from sweeper.study.storage_url import has_password, redacted, why_not_opened

from .studies import HERE, TINY, Call, make_journal

UNUSABLE = [
    ("postgresql+psycopg://me:secret@host:port/db", "its port is no number"),
    ("postgres://me:secret@host/db", "begin it with postgresql+psycopg://"),
    ("postgresql+pg8000://me:secret@host/db", "begin it with postgresql+psycopg://, and pip install 'psycopg[binary]'"),
    ("postgresql+psycopg://me:x@secret@127.0.0.1:1/db", "write an @ in the password as %40"),
]


@pytest.mark.parametrize(("url", "reason"), UNUSABLE)
def test_a_url_that_cannot_be_used_says_what_to_do(url: str, reason: str) -> None:
    """Whoever writes, and whoever only reads; neither shows a part of the password."""
    with pytest.raises(StudyError) as writing:
        open_storage(url)
    with pytest.raises(StudyError) as reading, StorageReader(url) as reader:
        reader.read(lambda _: None)
    for error in (writing, reading):
        assert reason in str(error.value)
        assert "secret" not in str(error.value)
        assert "\n" not in str(error.value)
    assert has_password(url)
    assert "secret" not in redacted(url)


def test_a_missing_driver_is_named_with_its_command() -> None:
    """Optuna's own message hides which package it lacks."""
    error = ImportError("Failed to import DB access module")
    error.__cause__ = ModuleNotFoundError("No module named 'psycopg'", name="psycopg")
    reason, fix = why_not_opened(error, "postgresql+psycopg://me@host/db")
    assert reason == "it needs the package psycopg, which is not installed"
    assert fix == "pip install 'psycopg[binary]'"


def test_an_empty_storage_is_no_journal(sweeper_call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that is set to nothing would start another study on each host, and show one that is here."""
    monkeypatch.setenv("STUDY_URL", "")
    make_journal("local")
    search = ["-m", *TINY, *HERE, "model.dropout=interval(0.0,0.3)", "hydra.sweeper.storage=${oc.env:STUDY_URL}"]
    for arguments in (
        search,
        ["report", "local", "--storage", ""],
        ["report", "local", "--storage", "${oc.env:STUDY_URL}"],
    ):
        done = sweeper_call(*arguments)
        assert done.returncode == 1
        assert "storage must be a URL, but it is empty" in done.stderr
        assert done.stderr.count("\n") == 1
