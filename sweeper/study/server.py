"""A study's storage on a PostgreSQL server, which may restart: a lost connection is waited for."""

import threading
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

from optuna.storages import RDBStorage
from sqlalchemy import event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, OperationalError

from sweeper.errors import StudyError
from sweeper.study.storage_url import why_not_opened
from sweeper.study.waiting import waiting

PATIENCE_SECONDS: Final = 600.0
"""The time that a server which has answered before has to answer again."""
RETRY_SECONDS: Final = 1.0
CONNECTIONS: Final = 2
"""Connections that a storage keeps: one for its statements, one that holds the study's lock. More are closed after use."""
TRIES: Final = 3
"""Tries of a statement whose connection was lost; between them the storage waits for its server."""
ENDED: Final = ("25P03", "25P04", "57P01", "57P02", "57P03", "57P05")
"""PostgreSQL's codes of errors that end a connection: idle for too long in a transaction, shutdown, crash, starting up."""
CONNECTION: Final[dict[str, Any]] = {
    "connect_timeout": 10,
    # Otherwise a host that is cut off waits for hours.
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,  # milliseconds; keepalives do not notice while data are on their way
}
T = TypeVar("T")


class PostgresqlStorage(RDBStorage):
    """A PostgreSQL storage that, once opened, waits up to `PATIENCE_SECONDS` for its server in the main thread.

    A statement that was under way when the connection was lost still fails, see `is_connection_lost`.
    """

    def __init__(self, url: str) -> None:
        """Connect, and create the tables if there are none. Raises what SQLAlchemy's drivers raise, without waiting."""
        settings = {"pool_pre_ping": True, "pool_size": CONNECTIONS, "connect_args": connection_settings(url)}
        super().__init__(url, engine_kwargs=settings)
        self._has_given_up = False
        event.listen(self.engine, "do_connect", self._connect)
        self.engine.dispose()  # the first connection was made without it

    def _connect(self, dialect: Any, _record: Any, arguments: Any, parameters: Any) -> Any:
        started = time.monotonic()
        has_waited = False
        while True:
            try:
                connection = dialect.loaded_dbapi.connect(*arguments, **parameters)
                _set_time_zone(connection)  # Optuna saves times without their zone
            except dialect.loaded_dbapi.OperationalError as error:
                if threading.current_thread() is not threading.main_thread():
                    raise
                reason, fix = why_not_opened(error, str(self.url))
                if self._has_given_up or time.monotonic() - started > PATIENCE_SECONDS:
                    self._has_given_up = True
                    raise StudyError(
                        f"the study's storage must answer, but has not for {PATIENCE_SECONDS / 60:.0f} minutes ({reason}): "
                        f"{fix or 'start the server'}, then type the command again"
                    ) from None
                if not has_waited:
                    say_waiting(reason)
                has_waited = True
                try:
                    waiting().check()
                except KeyboardInterrupt:
                    self._has_given_up = True  # what an interrupted command still has to write must not wait either
                    raise
                time.sleep(RETRY_SECONDS)
            else:
                self._has_given_up = False
                if has_waited:
                    say_answers(time.monotonic() - started)
                return connection


def say_waiting(reason: str) -> None:
    """Say that a server is waited for, and why it cannot be used."""
    waiting().on_begin(f"the storage does not answer ({reason}): waiting up to {PATIENCE_SECONDS / 60:.0f} minutes")


def say_answers(seconds: float) -> None:
    """Say that a server that was waited for can be used again, after a time in seconds."""
    waiting().on_end(f"the storage answers again after {seconds:.0f} s")


def patiently(call: Callable[[], T]) -> T:
    """Return what `call` returns; after a lost connection, call it again."""
    for _ in range(TRIES - 1):
        try:
            return call()
        except Exception as error:
            if not is_connection_lost(error):
                raise
    return call()


def connection_settings(url: str) -> dict[str, Any]:
    """Return the settings of a connection that the URL does not set itself."""
    parsed = make_url(url)
    # A pool that gives each transaction another connection, as pgbouncer does, knows no prepared statements.
    unprepared = {"prepare_threshold": None} if parsed.get_dialect().driver == "psycopg" else {}
    return {name: value for name, value in {**CONNECTION, **unprepared}.items() if name not in parsed.query}


def _set_time_zone(connection: Any) -> None:
    with connection.cursor() as cursor:  # not as an option of the connection, which pgbouncer refuses
        cursor.execute("SET timezone TO 'UTC'")
    connection.commit()


def is_connection_lost(error: BaseException | None) -> bool:
    """Whether an error means that the connection to the server was lost, or cannot be made at the moment.

    A server also ends the connection of a process that held a lock and was suspended for long.
    """
    while error is not None:
        if isinstance(error, DBAPIError):
            is_connecting = isinstance(error, OperationalError) and error.statement is None
            if error.connection_invalidated or is_connecting or getattr(error.orig, "sqlstate", None) in ENDED:
                return True
        error = error.__cause__ or error.__context__
    return False
