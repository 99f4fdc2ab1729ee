"""Trials' small files on a server, for hosts that share nothing else: saved by the jobs, restored where they lack.

They are in a table of sweeper's own: as attributes of the trials, every process would read all of them.
"""

import logging
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from sqlalchemy import Column, Integer, MetaData, String, Table, Text, delete, insert, select
from sqlalchemy.exc import SQLAlchemyError

from sweeper.run.folder import RunFolder, write_atomically
from sweeper.study.coordination import advisory_lock
from sweeper.study.folder import StudyFolder
from sweeper.study.server import PostgresqlStorage, is_connection_lost

_log = logging.getLogger(__name__)
T = TypeVar("T")
TRIES: Final = 3
"""Tries of a statement whose connection was lost; between them the storage waits for its server."""
MAX_BYTES: Final = 1_000_000
"""A longer file stays where it is."""
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
    with advisory_lock(
        storage, FILES.name, kind="table"
    ):  # two that create one table at once fail, even if they look first
        FILES.create(storage.engine, checkfirst=True)


def save_record(storage: PostgresqlStorage, study: str, number: int, folder: Path) -> None:
    """Save a trial's small files, and where all of them are. A pruned trial has no result among them.

    A failure is logged, not raised: the trial has its value, and its files are on this host.
    """
    files = {name: path.read_text() for name, path in _files(RunFolder(folder)).items() if _is_small(path)}
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


def restore_records(storage: PostgresqlStorage, study: str, folder: StudyFolder) -> None:
    """Write the saved files of every trial that has no folder here."""
    of_study = select(FILES.c.trial).where(FILES.c.study == study).distinct()
    with storage.engine.connect() as connection:
        for number in connection.execute(of_study).scalars().all():
            if not folder.trial(number).path.exists():
                named = select(FILES.c.name, FILES.c.text).where(FILES.c.study == study, FILES.c.trial == number)
                _restore(folder, number, dict(connection.execute(named).tuples().all()))


def patiently(call: Callable[[], T]) -> T:
    """Return what `call` returns; after a lost connection, call it again."""
    for _ in range(TRIES - 1):
        try:
            return call()
        except Exception as error:
            if not is_connection_lost(error):
                raise
    return call()


def _restore(folder: StudyFolder, number: int, saved: dict[str, str]) -> None:
    temporary = folder.path / f".{number}.restored-{os.getpid()}"
    shutil.rmtree(temporary, ignore_errors=True)
    for name, path in _files(RunFolder(temporary)).items():  # a storage may name any file
        if name in saved:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, saved[name].encode())
    temporary.mkdir(exist_ok=True)
    write_atomically(temporary / ELSEWHERE, saved.get(ELSEWHERE, "").encode())
    try:
        os.replace(temporary, folder.trial(number).path)
    except OSError:  # another process of this host has restored it meanwhile
        shutil.rmtree(temporary, ignore_errors=True)


def _files(files: RunFolder) -> dict[str, Path]:
    """Return the files that are saved, by their names in the table."""
    paths = (files.config, files.overrides, files.metrics, files.result, files.mistakes)
    return {str(path.relative_to(files.path)): path for path in paths}


def _is_small(path: Path) -> bool:
    return path.exists() and path.stat().st_size <= MAX_BYTES
