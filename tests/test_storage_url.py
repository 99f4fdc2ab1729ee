"""A storage's URL that cannot be used: one line with the rule and the fix, and no part of a password."""

from pathlib import Path

import pytest

from sweeper.errors import StudyError
from sweeper.reading.storage_reader import StorageReader
from sweeper.study.storage import open_storage
from sweeper.study.storage_url import has_password, redacted, why_not_opened

from .postgresql import PASSWORD
from .processes import Start, Sweeper
from .studies import HERE, TINY, Call, make_journal, wait_for

UNUSABLE = [
    ("postgresql+psycopg://me:secret@host:port/db", "or its port is no number"),
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


def test_an_empty_storage_is_no_journal(sweeper_call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that is set to nothing would start another study on each host, and show one that is here."""
    monkeypatch.chdir(tmp_path)
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


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://me:secret@host/db",
        "postgresql+psycopg://me@host/db?password=secret",
        "postgresql+psycopg://me:p@secret%w:rd/x@host/db",
        "postgresql+psycopg://me:[secret@host/db",
        "mysql://me:secret@host/db",
        "postgresql+psycopg://me:secret${oc.env:USER,x}@host/db",
    ],
)
def test_a_typed_password_is_refused(sweeper_call: Call, tmp_path: Path, url: str) -> None:
    """It would be in the list of processes, and in what a search saves: one line shows the way, without the password."""
    for arguments in (
        ["-m", *TINY, "model.dropout=0.05,0.1", f'hydra.sweeper.storage="{url}"'],
        ["-m", *TINY, "model.dropout=0.05,0.1", "hydra/sweeper=optuna", f'hydra.sweeper.storage="{url}"'],
        [*TINY, "model.dropout=0.05,0.1", f'hydra.sweeper.storage="{url}"'],
        *([verb, "local", "--storage", url] for verb in ("report", "confirm")),
        ["dashboard", "--storage", url],
        ["bench", "--study", "--storage", url],
    ):
        done = sweeper_call(*arguments)
        assert done.returncode == 1
        assert "'${oc.env:STUDY_URL}'" in done.stderr
        assert done.stderr.count("\n") == 1
        assert "secret" not in done.stdout + done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_variables_password_is_in_no_file_no_line_and_no_job(
    start: Start, sweeper_process: Sweeper, postgresql: str, tmp_path: Path
) -> None:
    """A search, its jobs, its report and a reproduction: it is nowhere but in the variable."""
    named = ["hydra.sweeper.study_name=held", "hydra.sweeper.n_jobs=2", "hydra.sweeper.storage=${oc.env:STUDY_URL}"]
    search = start("-m", *TINY, *named, "model.dropout=0.05,0.1", STUDY_URL=postgresql)
    wait_for(lambda: bool(list(tmp_path.glob("outputs/studies/*/*/metrics.jsonl"))) or search.poll() is not None)
    children = Path(f"/proc/{search.pid}/task/{search.pid}/children").read_text().split()
    assert len(children) >= 2
    lines = [Path(f"/proc/{number}/cmdline").read_bytes() for number in (search.pid, *children)]
    printed = "".join(search.communicate(timeout=120))
    assert search.returncode == 0, printed
    for verb in (["report", "held"], ["reproduce", "outputs/studies/held/0"]):
        done = sweeper_process(*verb, "--storage", "${oc.env:STUDY_URL}", STUDY_URL=postgresql)
        assert done.returncode == 0, done.stderr
        printed += done.stdout + done.stderr
    assert PASSWORD not in printed
    assert not [line for line in lines if PASSWORD.encode() in line]
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or PASSWORD.encode() not in path.read_bytes(), path
