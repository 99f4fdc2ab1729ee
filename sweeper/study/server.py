"""A study's storage on a PostgreSQL server, which may restart: a lost connection is waited for."""

import threading
import time
from typing import TYPE_CHECKING, Any, Final

from optuna.storages import RDBStorage
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE_SECONDS: Final = 600.0
"""The time that a server which has answered before has to answer again."""
RETRY_SECONDS: Final = 1.0
CONNECTION: Final[dict[str, Any]] = {
    "options": "-c timezone=UTC",  # Optuna saves times without their zone
    "connect_timeout": 10,
    # Otherwise a host that is cut off waits for hours.
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
}


class PostgresqlStorage(RDBStorage):
    """A PostgreSQL storage that, once opened, waits up to `PATIENCE_SECONDS` for its server in the main thread.

    A statement that was under way when the connection was lost still fails, see `is_connection_lost`.
    """

    def __init__(self, url: str) -> None:
        """Connect, and create the tables if there are none. Raises what SQLAlchemy's drivers raise, without waiting."""
        super().__init__(url, engine_kwargs={"pool_pre_ping": True, "connect_args": CONNECTION})
        self.on_wait: Callable[[str], None] = lambda _: None
        """Receives one line when the wait begins, and one when it has ended."""
        self.check: Callable[[], None] = lambda: None
        """Called while waiting; may raise KeyboardInterrupt."""
        event.listen(self.engine, "do_connect", self._connect)

    def _connect(self, dialect: Any, _record: Any, arguments: Any, parameters: Any) -> Any:
        started = time.monotonic()
        has_waited = False
        while True:
            try:
                connection = dialect.loaded_dbapi.connect(*arguments, **parameters)
            except dialect.loaded_dbapi.OperationalError:
                is_main = threading.current_thread() is threading.main_thread()
                if not is_main or time.monotonic() - started > PATIENCE_SECONDS:
                    raise
                if not has_waited:
                    self.on_wait(f"the storage does not answer: waiting up to {PATIENCE_SECONDS / 60:.0f} minutes")
                has_waited = True
                self.check()
                time.sleep(RETRY_SECONDS)
            else:
                if has_waited:
                    self.on_wait(f"the storage answers again after {time.monotonic() - started:.0f} s")
                return connection


def is_connection_lost(error: BaseException | None) -> bool:
    """Whether an error means that the connection to the server was lost, so that another try may succeed."""
    while error is not None:
        if isinstance(error, DBAPIError) and error.connection_invalidated:
            return True
        error = error.__cause__ or error.__context__
    return False
