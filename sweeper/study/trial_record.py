"""A study's small files on a server, for hosts that share nothing else: those of each trial, and the sweep's config.

They are in a table of sweeper's own: as attributes of the trials, every process would read all of them.
"""

import logging
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from sqlalchemy import Column, Engine, Integer, MetaData, String, Table, Text, delete, func, insert, inspect, select
from sqlalchemy.exc import SQLAlchemyError

from sweeper.errors import StudyError
from sweeper.run.folder import RunFolder
from sweeper.study.coordination import advisory_lock
from sweeper.study.server import PostgresqlStorage, is_connection_lost, patiently

_log = logging.getLogger(__name__)
MAX_BYTES: Final = 1_000_000
"""A longer file stays where it is."""
SWEEP: Final = -1
"""In the place of a trial's number: the study's own file."""
MULTIRUN: Final = "multirun.yaml"
"""Name of that file, the config of the last sweep of the study on any host."""
ELSEWHERE: Final = "elsewhere.txt"
"""In a restored folder, says where the other files are. In the table, the host and folder of all files."""
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


def save_record(storage: PostgresqlStorage, study: str, number: int, folder: Path) -> None:
    """Save a trial's small files, and where all of them are. A pruned trial has no result among them.

    A failure is logged, not raised: the trial has its value, and its files are on this host.
    """
    files = {name: path.read_text() for name, path in saved_files(RunFolder(folder)).items() if _is_small(path)}
    files[ELSEWHERE] = f"weights and figures: {socket.gethostname()}:{folder.absolute()}\n"
    rows = [{"study": study, "trial": number, "name": name, "text": text} for name, text in files.items()]

    def write() -> None:
        with storage.engine.begin() as connection:
            connection.execute(delete(FILES).where(FILES.c.study == study, FILES.c.trial == number))
            connection.execute(insert(FILES), rows)

    try:
        patiently(write)
    except SQLAlchemyError as error:
        _log.warning("other hosts will lack the files of this trial: %s", next(iter(str(error).splitlines()), error))


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


def saved_files(files: RunFolder) -> dict[str, Path]:
    """Return the files of a trial that are saved, by their names in the table."""
    paths = (files.config, files.overrides, files.metrics, files.result, files.mistakes)
    return {str(path.relative_to(files.path)): path for path in paths}


def _is_small(path: Path) -> bool:
    return path.exists() and path.stat().st_size <= MAX_BYTES
