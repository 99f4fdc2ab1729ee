"""Opens a study's storage: journal file, sqlite or PostgreSQL. An incomplete last line of a journal is cut off."""

import json
import os
import socket
import time
from pathlib import Path
from typing import Any, Final

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from sqlalchemy.exc import DBAPIError

from sweeper.errors import StudyError
from sweeper.study.locks import exclusive
from sweeper.study.server import PATIENCE_SECONDS, RETRY_SECONDS, PostgresqlStorage, say_answers, say_waiting
from sweeper.study.storage_url import JOURNAL, is_postgresql, redacted, why_not_opened
from sweeper.study.waiting import waiting
from sweeper.untrusted import parse_json, read_bytes

OPEN_TRIES: Final = 5
"""If two processes create the tables of a database at once, one sees an incomplete schema and must try again."""

MAX_JOURNAL: Final = 2**32
"""The largest journal that is opened, bytes: a study of some three million trials."""


def journal_url(path: Path) -> str:
    """Return the URL of a journal file. Its path is absolute: jobs may run in other folders."""
    return f"{JOURNAL}{path.absolute()}"


def open_storage(url: str) -> BaseStorage:
    """Open or create a storage.

    A process killed during a write leaves an incomplete last line in a journal; that line is cut off.
    Raises `StudyError`, naming the URL without its password, if the storage is damaged or cannot be reached.
    """
    if url.startswith(JOURNAL):
        return _open_journal(Path(url.removeprefix(JOURNAL)))
    error: Exception | None = None
    for attempt in range(OPEN_TRIES):
        try:
            return PostgresqlStorage(url) if is_postgresql(url) else RDBStorage(absolute_url(url))
        except Exception as caught:  # noqa: BLE001 - SQLAlchemy's drivers each raise their own
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


class Journal(JournalFileBackend):
    """A journal file that waits for the disk when a trial changes its state, not at each of its values.

    Its lock is one that the kernel releases when the holder dies; Optuna's own stays locked for 30 s after a kill.

    A wait takes milliseconds, and Optuna's own backend waits once for each parameter and attribute of a trial. Readers
    see a line at once, and no killed process loses one; the machine's own crash loses what followed the last change.
    """

    def __init__(self, path: Path) -> None:
        self._lock_file = path.with_suffix(".lock")
        self._path = path
        super().__init__(str(path))

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append one line for each change."""
        lines = "".join(f"{json.dumps(log, separators=(',', ':'))}\n" for log in logs)
        with exclusive(self._lock_file), self._path.open("ab") as file:
            file.write(lines.encode())
            file.flush()
            if any("state" in log for log in logs):
                os.fsync(file.fileno())


def _open_journal(path: Path) -> BaseStorage:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.with_suffix(".lock")
        with exclusive(lock):
            _cut_torn_line(path)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        return JournalStorage(Journal(path))
    except OSError as error:
        raise StudyError(f"{path} must be a journal that can be written, but it is not ({error.strerror})") from error


def _cut_torn_line(path: Path) -> None:
    """Cut off an incomplete last line. Raises `StudyError` if any other line is damaged."""
    if not path.exists():
        return
    content = read_bytes(path, limit=MAX_JOURNAL)
    complete, newline, _torn = content.rpartition(b"\n")
    for number, line in enumerate(complete.splitlines(), 1):
        try:
            parse_json(line)
        except ValueError as error:
            raise StudyError(
                f"{path} must hold one JSON record a line, but line {number} is damaged: restore it, or start a new "
                "study with another hydra.sweeper.study_name"
            ) from error
    if len(complete) + len(newline) < len(content):
        with path.open("r+b") as file:
            file.truncate(len(complete) + len(newline))


def absolute_url(url: str) -> str:
    """Return the URL with an absolute path: sqlite resolves it in the working directory, which a job may change."""
    prefix = "sqlite:///"
    if not url.startswith(prefix) or url == prefix or url.startswith((f"{prefix}/", f"{prefix}:")):
        return url
    return f"{prefix}{Path(url.removeprefix(prefix)).absolute()}"
