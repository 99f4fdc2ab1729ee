"""A study's small files on a server, for hosts that share nothing else: those of each trial, and the sweep's config.

They are in a table of sweeper's own: as attributes of the trials, every process would read all of them.
"""

from collections.abc import Mapping
from typing import Final

from optuna.storages import BaseStorage
from sqlalchemy import Column, Engine, Integer, MetaData, String, Table, Text, delete, func, insert, inspect, select
from sqlalchemy.exc import SQLAlchemyError

from sweeper.errors import StudyError
from sweeper.study.coordination import advisory_lock
from sweeper.study.server import PostgresqlStorage, is_connection_lost, patiently
from sweeper.study.trial_files import MAX_BYTES

SWEEP: Final = -1
"""In the place of a trial's number: the study's own file."""
MULTIRUN: Final = "multirun.yaml"
"""Name of that file, the config of the last sweep of the study on any host."""
FILES: Final = Table(
    "sweeper_files",
    MetaData(),
    Column("study", String(), primary_key=True),
    Column("trial", Integer(), primary_key=True),
    Column("name", String(), primary_key=True),
    Column("text", Text(), nullable=False),
)
"""The text of each trial's small files."""


def create_table(storage: PostgresqlStorage) -> None:
    """Create the table if the server has none."""
    # Two that create one table at once fail, even if they look first.
    with advisory_lock(storage, FILES.name, kind="table"):
        FILES.create(storage.engine, checkfirst=True)


def save_sweep(storage: PostgresqlStorage, study: str, multirun: str, *, is_new: bool) -> None:
    """Save the sweep's config. With `is_new`, first delete what a deleted study of the same name has left.

    Raises `StudyError` if this is not allowed.
    """
    old = delete(FILES).where(FILES.c.study == study)
    try:
        with storage.engine.begin() as connection:
            connection.execute(old if is_new else old.where(FILES.c.trial == SWEEP))
            connection.execute(insert(FILES), [{"study": study, "trial": SWEEP, "name": MULTIRUN, "text": multirun}])
    except SQLAlchemyError as error:
        if is_connection_lost(error):
            raise
        reason = next(iter(str(error.__cause__ or error).splitlines()), "")
        raise StudyError(
            f"a study on a server must be able to write its table {FILES.name}, but it cannot ({reason}): grant its role the "
            "right to, or take another"
        ) from None


def save_record(storage: BaseStorage, study: str, number: int, texts: Mapping[str, str]) -> str | None:
    """Save the texts of a trial's small files, if the storage is on a server. Return why they cannot be saved, else None.

    That is no error: the trial has its value, and its files are where it ran.
    Raises `SQLAlchemyError` if the connection to the server is lost more than once.
    """
    if not isinstance(storage, PostgresqlStorage) or not texts:
        return None
    rows = [{"study": study, "trial": number, "name": name, "text": text} for name, text in texts.items()]

    def write() -> None:
        with storage.engine.begin() as connection:
            connection.execute(delete(FILES).where(FILES.c.study == study, FILES.c.trial == number))
            connection.execute(insert(FILES), rows)

    try:
        patiently(write)
    except SQLAlchemyError as error:
        if is_connection_lost(error):
            raise
        return next(iter(str(error.__cause__ or error).splitlines()), type(error).__name__)
    return None


def has_records(engine: Engine) -> bool:
    """Whether the server has the table."""
    return inspect(engine).has_table(FILES.name)


def saved_trials(engine: Engine, study: str) -> list[int]:
    """Return the numbers of the trials that have files in the table."""
    numbers = select(FILES.c.trial).where(FILES.c.study == study, FILES.c.trial > SWEEP).distinct()
    with engine.connect() as connection:
        return sorted(connection.execute(numbers).scalars())


def read_saved(engine: Engine, study: str, number: int) -> Mapping[str, str]:
    """Return the text of a trial's files by their names, which may be any: a storage may be another program's."""
    is_it = (FILES.c.study == study, FILES.c.trial == number, func.length(FILES.c.text) <= MAX_BYTES)
    with engine.connect() as connection:
        rows = connection.execute(select(FILES.c.name, FILES.c.text).where(*is_it)).all()
    return {row.name: row.text for row in rows}
