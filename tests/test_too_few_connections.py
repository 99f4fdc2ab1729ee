"""A server that takes no more connections: what waits for one says why, and what cannot begin says what to do."""

from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy.engine import make_url

from sweeper.errors import StudyError
from sweeper.study.server import PostgresqlStorage
from sweeper.study.storage import open_patiently, open_storage
from sweeper.study.waiting import while_waiting

LIMIT = 3
PASSWORD = "few-secret"  # noqa: S105 - of a role that lives as long as the test


class Crowd:
    """Connections of others, which leave a role none."""

    def __init__(self, url: str) -> None:
        """Know the server; nobody is connected."""
        self._url = url
        self._connections: list[psycopg.Connection] = []

    def come(self) -> None:
        """Take all connections."""
        plain = self._url.replace("+psycopg", "")
        self._connections = [psycopg.connect(plain) for _ in range(LIMIT)]

    def leave(self) -> None:
        """Give them back."""
        for connection in self._connections:
            connection.close()


@pytest.fixture
def url(postgresql: str) -> Iterator[str]:
    """The URL of a role with few connections."""
    with psycopg.connect(postgresql, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE few LOGIN PASSWORD '{PASSWORD}' CONNECTION LIMIT {LIMIT}")
        admin.execute("CREATE DATABASE few OWNER few")
        parts = make_url(postgresql).set(
            drivername="postgresql+psycopg", username="few", password=PASSWORD, database="few"
        )
        yield parts.render_as_string(hide_password=False)
        admin.execute("DROP DATABASE few WITH (FORCE)")
        admin.execute("DROP ROLE few")


@pytest.fixture
def crowd(url: str) -> Iterator[Crowd]:
    """Others on the same role."""
    made = Crowd(url)
    yield made
    made.leave()


def test_a_search_without_a_connection_says_what_to_do(url: str, crowd: Crowd) -> None:
    """The URL is right: there is nothing to correct in it."""
    crowd.come()
    with pytest.raises(
        StudyError, match=r'too many connections for role "few"\): allow more of them on the server'
    ) as error:
        open_storage(url)
    assert PASSWORD not in str(error.value)


@pytest.mark.parametrize("is_open", [True, False])
def test_who_waits_for_a_connection_says_the_servers_reason(url: str, crowd: Crowd, *, is_open: bool) -> None:
    """A storage that is open, and a job that opens one; both go on as soon as there is one."""
    said: list[str] = []
    storage = open_storage(url)
    assert isinstance(storage, PostgresqlStorage)
    storage.engine.dispose()
    crowd.come()
    with while_waiting(said.append, check=crowd.leave):
        if is_open:
            with storage.engine.connect():
                pass
        else:
            other = open_patiently(url)
            assert isinstance(other, PostgresqlStorage)
            other.engine.dispose()
    storage.engine.dispose()
    began, ended = said
    assert began.startswith("the storage does not answer (")
    assert began.endswith('too many connections for role "few"): waiting up to 10 minutes')
    assert ended.startswith("the storage answers again after ")
    assert PASSWORD not in began


def test_a_storage_keeps_two_connections(url: str) -> None:
    """One for its statements, one for the lock; a third is closed after use, so that others have it."""
    storage = open_storage(url)
    assert isinstance(storage, PostgresqlStorage)
    connections = [storage.engine.connect() for _ in range(LIMIT)]
    for connection in connections:
        connection.close()
    with psycopg.connect(url.replace("+psycopg", "")):
        pass
    storage.engine.dispose()
