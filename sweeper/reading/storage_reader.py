"""Reads one storage while other processes write to it: read-only, without locks, with one-line errors."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, Self, TypeVar
from urllib.parse import quote

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import BaseJournalBackend
from sqlalchemy.engine import make_url

from sweeper.errors import StudyError
from sweeper.reading.locations import StudyLocation
from sweeper.study.journal import Decoder, damage
from sweeper.study.optuna_private import cached
from sweeper.study.server import connection_settings
from sweeper.study.storage_url import JOURNAL, is_postgresql, redacted, why_not_opened
from sweeper.untrusted import open_regular

T = TypeVar("T")
BUSY_SECONDS: Final = 60
"""Maximum time that a reader of sqlite waits for a writer that is committing."""


class StorageReader:
    """One storage. The first read opens it; it is reopened after its file was replaced or a read failed."""

    def __init__(self, url: str) -> None:
        """Read the storage at `url`; nothing is opened yet."""
        self._url = url
        self._storage: BaseStorage | None = None
        self._journal: JournalReader | None = None
        self._database: RDBStorage | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self, query: Callable[[BaseStorage], T]) -> T:
        """Return what `query` returns for the storage.

        Raises `StudyError`, naming the storage without its password, if reading fails, and `KeyError` if a study or
        trial of the query does not exist.
        """
        if self._journal is not None and self._journal.was_replaced():
            self.close()
        try:
            if self._storage is None:
                self._storage = self._open()
            return query(self._storage)
        except StudyError as error:
            failure = error
        except Exception as error:  # SQLAlchemy's drivers each raise their own errors; a damaged journal can raise any
            is_damaged = self._journal is not None and self._journal.is_applying
            if isinstance(error, KeyError) and not is_damaged:
                raise
            failure = StudyError(
                self._journal.damage if self._journal is not None and is_damaged else _unreadable(error, self._url)
            )
        self.close()  # so that the next read reopens it: it may be repaired by then
        raise failure  # outside the handler: a driver's error may hold the password, so it is not chained

    def read_server(self, query: Callable[[RDBStorage], T]) -> T | None:
        """Return what `query` returns for a storage on a server; None for one in files. Raises what `read` raises."""
        if not is_postgresql(self._url):
            return None

        def queried(_: BaseStorage) -> T:
            assert self._database is not None
            return query(self._database)

        return self.read(queried)

    def close(self) -> None:
        """Close the file or the connections."""
        if self._database is not None:
            self._database.engine.dispose()
        self._storage = self._journal = self._database = None

    def _open(self) -> BaseStorage:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        if self._url.startswith(JOURNAL):
            self._journal = JournalReader(Path(self._url.removeprefix(JOURNAL)))
            return JournalStorage(self._journal)
        url = make_url(self._url)
        settings: dict[str, Any] = {"execution_options": {"postgresql_readonly": True}}
        text = self._url
        if url.get_backend_name() == "sqlite":
            path = Path(url.database or "").absolute()
            if not path.is_file():
                raise StudyError(
                    f"{self._url} must be an existing database, but {path} is not a file: correct the URL, "
                    "or give a study's folder"
                )
            # sqlite's own read-only mode. Each read locks the file only for its duration and starts no transaction.
            text = f"{url.drivername}:///file:{quote(str(path))}?mode=ro&uri=true"
            settings = {"connect_args": {"timeout": BUSY_SECONDS}}
        elif is_postgresql(self._url):
            settings["connect_args"] = connection_settings(self._url)
        self._database = RDBStorage(text, engine_kwargs=settings, skip_table_creation=True)
        return cached(self._database)


class JournalReader(BaseJournalBackend):
    """Reads a journal's complete lines. An incomplete last line, still being written, is left for the next read."""

    def __init__(self, path: Path) -> None:
        """Read the file at `path` from its start."""
        self._path = path
        self._offset = 0
        self._head = b""
        self._decoder = Decoder()
        self._reason: Exception = ValueError("Optuna cannot apply it")
        self.is_applying = False
        """Whether Optuna is applying the last line read. If a read fails in that state, the line is damaged."""

    @property
    def damage(self) -> str:
        """The error message for a journal whose last line read is damaged."""
        return f"{damage(self._path, self._decoder.number, self._reason)}: restore it from a copy, or move the study's folder away"

    def was_replaced(self) -> bool:
        """Whether another journal has replaced the file, or the file is gone."""
        try:
            with open_regular(self._path) as file:
                # The first record contains a random number of its writer. An inode number is not enough: it is reused.
                return file.readline() != self._head if self._head else False
        except OSError:
            return True

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        """Yield the records from number `log_number_from` on, which is always the first unread one."""
        assert log_number_from == self._decoder.number
        with open_regular(self._path) as file:
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self.is_applying = True
                self._head = self._head or line
                try:
                    record = self._decoder.decode(line)
                except ValueError as error:
                    self._reason = error
                    raise
                yield record
                self._offset += len(line)
                self.is_applying = False

    def append_logs(self, logs: list[dict[str, Any]]) -> None:  # noqa: ARG002 - Optuna's signature
        """Refuse to write. Raises `StudyError`."""
        raise read_only()


def study_name(storage: BaseStorage, location: StudyLocation) -> str:
    """Return the name of the study that `location` refers to. Raises `StudyError` if it is not in the storage."""
    names = optuna.get_all_study_names(storage)
    if location.study in names:
        return location.study
    if location.study is None and names:
        return names[0]
    held = f"holds {', '.join(sorted(names))}: give one of these" if names else "is empty: has the search started?"
    raise StudyError(
        f"a study must be in its storage, but {location.study or location.folder} is not: the storage {held}"
    )


def read_only() -> StudyError:
    """Return the error for an attempt to write to a storage that is opened read-only."""
    return StudyError("a study is opened read-only here: nothing is written to it")


def _unreadable(error: BaseException, url: str) -> str:
    reason, fix = why_not_opened(error, url)
    return (
        f"{redacted(url)} must be a readable storage, but reading it fails ({reason}): "
        f"{fix or 'correct the URL, or see that it can be reached'}"
    )
