"""Opens a study's storage: journal file, sqlite or PostgreSQL. An incomplete last line of a journal is cut off."""

import socket
import time
from pathlib import Path
from typing import Final

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from sqlalchemy.exc import DBAPIError

from sweeper.disk import is_full
from sweeper.errors import StudyError
from sweeper.study.journal import Journal, prepare
from sweeper.study.locks import exclusive
from sweeper.study.server import PATIENCE_SECONDS, RETRY_SECONDS, PostgresqlStorage, say_answers, say_waiting
from sweeper.study.storage_url import JOURNAL, is_postgresql, redacted, why_not_opened
from sweeper.study.waiting import waiting

OPEN_TRIES: Final = 5
"""If two processes create the tables of a database at once, one sees an incomplete schema and must try again."""


def journal_url(path: Path) -> str:
    """Return the URL of a journal file. Its path is absolute: jobs may run in other folders."""
    return f"{JOURNAL}{path.absolute()}"


def open_storage(url: str) -> BaseStorage:
    """Open or create a storage.

    A process killed during a write leaves an incomplete last line in a journal; that line is cut off.
    Raises `StudyError`, naming the URL without its password, if the storage is damaged or cannot be reached; on a full disk
    what its driver raises, see `sweeper.disk`.
    """
    if url.startswith(JOURNAL):
        return _open_journal(Path(url.removeprefix(JOURNAL)))
    error: Exception | None = None
    for attempt in range(OPEN_TRIES):
        try:
            return PostgresqlStorage(url) if is_postgresql(url) else RDBStorage(absolute_url(url))
        except Exception as caught:
            if is_full(caught):
                raise  # the caller says so
            error = caught
            if not isinstance(caught, DBAPIError):
                break  # no driver or an invalid URL: another try fails too
            time.sleep(0.1 * (attempt + 1))
    assert error is not None
    reason, fix = why_not_opened(error, url)
    raise StudyError(
        f"hydra.sweeper.storage must be the URL of a storage, but {redacted(url)} cannot be opened "
        f"({reason}): {fix or 'correct it, or leave it out for a journal file'}"
    ) from error


def database_path(url: str) -> Path | None:
    """Return the file of an sqlite storage; None for a journal, a server, and a database in memory."""
    path = absolute_url(url).removeprefix("sqlite:///")
    return Path(path) if url.startswith("sqlite:///") and path and not path.startswith(":") else None


def open_patiently(url: str) -> BaseStorage:
    """Open a storage that another process has opened before: a server that does not answer is waited for.

    Raises `StudyError` if it is a file that this host does not have, and what `open_storage` raises.
    """
    file = Path(url.removeprefix(JOURNAL)) if url.startswith(JOURNAL) else database_path(url)
    if file is not None and not file.exists():
        raise StudyError(
            f"a study in a file must run where its file is, but host {socket.gethostname()} has no {file}: give a server that "
            "all hosts reach, with hydra.sweeper.storage=postgresql+psycopg://..."
        )
    started = time.monotonic()
    has_waited = False
    while True:
        try:
            storage = open_storage(url)
        except StudyError as error:
            if not is_postgresql(url) or time.monotonic() - started > PATIENCE_SECONDS:
                raise
            if not has_waited:
                say_waiting(why_not_opened(error, url)[0])
            has_waited = True
            waiting().check()
            time.sleep(RETRY_SECONDS)
        else:
            if has_waited:
                say_answers(time.monotonic() - started)
            return storage


def _open_journal(path: Path) -> BaseStorage:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.with_suffix(".lock")
        with exclusive(lock):
            prepare(path)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        return _applied(path)
    except OSError as error:
        if is_full(error):
            raise
        raise StudyError(f"{path} must be a journal that can be written, but it is not ({error.strerror})") from error


def _applied(path: Path) -> BaseStorage:
    """Return the storage in a journal whose lines are whole. Raises `StudyError` if they do not fit together."""
    try:
        return JournalStorage(Journal(path))
    except (KeyError, AssertionError, AttributeError, TypeError, ValueError) as error:  # as Optuna happens to meet it
        raise StudyError(
            f"{path} must hold every change of its study, but a line is missing or belongs to another one "
            f"({type(error).__name__} in Optuna): restore it from a copy, or start a new study with another "
            "hydra.sweeper.study_name"
        ) from error


def absolute_url(url: str) -> str:
    """Return the URL with an absolute path: sqlite resolves it in the working directory, which a job may change."""
    prefix = "sqlite:///"
    if not url.startswith(prefix) or url == prefix or url.startswith((f"{prefix}/", f"{prefix}:")):
        return url
    return f"{prefix}{Path(url.removeprefix(prefix)).absolute()}"
