"""One storage read beside its writers: no journal's lock is taken, nothing is written, nothing is mended."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlsplit

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import BaseJournalBackend
from sqlalchemy.engine import make_url

from sweeper.errors import StudyError
from sweeper.study.storage import JOURNAL, redacted

T = TypeVar("T")
BUSY_SECONDS: Final = 60
"""How long a reader of sqlite waits for a writer that is just committing."""


class Reader:
    """One storage, opened when it is first read and again when its file was replaced or read with a failure."""

    def __init__(self, url: str, index: int) -> None:
        """Read the storage at that URL, the `index`-th of all."""
        self.index = index
        self._url = url
        self._storage: BaseStorage | None = None
        self._journal: JournalReader | None = None
        self._engine: Any = None

    def read(self, ask: Callable[[BaseStorage], T]) -> T:
        """Ask the storage. Raises `StudyError` naming it, without its password, when it cannot be read."""
        if self._journal is not None and self._journal.was_replaced():
            self.close()
        try:
            self._storage = self._storage or self._open()
            return ask(self._storage)
        except KeyError:
            if self._journal is None or not self._journal.reading:
                raise  # what was asked for is not there
            refusal = StudyError(self._journal.damage)
        except StudyError as error:
            refusal = error
        except Exception as error:  # noqa: BLE001 - SQLAlchemy's drivers each raise their own; a damaged journal, any
            is_damaged = self._journal is not None and self._journal.reading
            refusal = StudyError(
                self._journal.damage
                if self._journal is not None and is_damaged
                else f"{redacted(self._url)} must be a storage that can be read, but it cannot ({self._why(error)})"
            )
        self.close()  # and opened anew the next time, when it may have been mended
        raise refusal

    def close(self) -> None:
        """Let go of what is open."""
        if self._engine is not None:
            self._engine.dispose()
        self._storage = self._journal = self._engine = None

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
                raise StudyError(f"{self._url} must be a database that is there, but {path} is no file")
            # Read-only by sqlite's own rules. A read shares the file for as long as it takes and begins no transaction.
            text = f"{url.drivername}:///file:{quote(str(path))}?mode=ro&uri=true"
            settings = {"connect_args": {"timeout": BUSY_SECONDS}}
        database = RDBStorage(text, engine_kwargs=settings, skip_table_creation=True)
        self._engine = database.engine
        # Finished trials, which do not change, are fetched once.
        return optuna.storages.get_storage(database)

    def _why(self, error: BaseException) -> str:
        while error.__cause__ is not None:  # Optuna's own words hide the driver's
            error = error.__cause__
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        password = urlsplit(self._url).password
        return reason.replace(password, "***") if password else reason


class JournalReader(BaseJournalBackend):
    """A journal's whole lines: what is still being written after the last of them is left for the next time."""

    def __init__(self, path: Path) -> None:
        """Read that file, from its beginning."""
        self._path = path
        self._offset = 0
        self._head = b""
        self._line = 0
        self.reading = False
        """Whether a line was read that nobody asked a next one after: then that line is what cannot be applied."""

    @property
    def damage(self) -> str:
        """What to say of the line read last."""
        return (
            f"{self._path} must hold one JSON record a line, but line {self._line} is damaged: restore it, "
            "or move the study's folder away"
        )

    def was_replaced(self) -> bool:
        """Whether the file is another than the one that was read."""
        try:
            with self._path.open("rb") as file:
                # Its first record names the process that wrote it, by a random number; inodes are used again.
                return file.readline() != self._head if self._head else False
        except OSError:
            return True

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        """Yield the records from that number on, which is always the first not yet read."""
        assert log_number_from == self._line
        with self._path.open("rb") as file:
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self.reading = True
                self._line += 1
                self._head = self._head or line
                yield json.loads(line)
                self._offset += len(line)
                self.reading = False

    def append_logs(self, logs: list[dict[str, Any]]) -> None:  # noqa: ARG002 - Optuna's signature
        """Refuse."""
        raise StudyError("the dashboard only shows studies: nothing is written to them")
