"""How the processes of one study keep apart: a lock around asking and counting, and beats that show who is alive.

A study in files has both in the file system, one on a PostgreSQL server in the server, so that its hosts share nothing else.
"""

import hashlib
import os
import threading
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Final, Protocol, Self

import optuna
from optuna.storages import BaseStorage, RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import text

from sweeper.study.folder import StudyFolder
from sweeper.study.locks import exclusive
from sweeper.study.optuna_private import beat, seconds_since_beats
from sweeper.study.owner import identify_process, owner_of
from sweeper.study.server import PostgresqlStorage
from sweeper.study.storage import database_path

BEATS_PER_GRACE: Final = 6
"""Number of beats in the time after which a silent process counts as dead: some may be late."""
KEY_BYTES: Final = 8
"""An advisory lock of PostgreSQL is a signed integer of 64 bits."""
LOCK_SETTINGS: Final = (
    "statement_timeout = 0",
    "lock_timeout = 0",
    "tcp_keepalives_idle = 15",
    "tcp_keepalives_interval = 5",
    "tcp_keepalives_count = 3",
    "idle_in_transaction_session_timeout = '60s'",
)
"""A host that is cut off, or frozen, keeps its connection and with it the lock until the server ends it."""


class Coordination(Protocol):
    """What the processes of a study share beside its trials. Numbers are those of trials."""

    def lock(self) -> AbstractContextManager[None]:
        """Hold the study's lock: no other process asks for a trial or counts them meanwhile. Freed if its holder dies."""

    def beat(self, numbers: Collection[int]) -> None:
        """Show that this process, which runs these trials, is alive. Raises what the storage raises."""

    def seconds_since_beats(self, study: optuna.Study) -> dict[int, float]:
        """Return for each running trial that has a beat how long ago its process last beat, by the storage's clock."""


class FileCoordination:
    """A study in files of one machine, or of a folder that machines share."""

    def __init__(self, lock_file: Path, beats: Path) -> None:
        """Lock `lock_file`; each process that runs trials has a file in the folder `beats`."""
        self._lock_file, self._beats = lock_file, beats

    def lock(self) -> AbstractContextManager[None]:
        """Hold the lock on the file."""
        return exclusive(self._lock_file)

    def beat(self, numbers: Collection[int]) -> None:
        """Touch this process's file; without trials, delete it."""
        file = self._beats / identify_process()["process"]
        if not numbers:
            file.unlink(missing_ok=True)
            with suppress(OSError):  # missing, or another process has a file there
                self._beats.rmdir()
            return
        while True:
            self._beats.mkdir(exist_ok=True)
            with suppress(FileNotFoundError):  # another process, the last one there, has just deleted the folder
                file.touch()
                return

    def seconds_since_beats(self, study: optuna.Study, now: float | None = None) -> dict[int, float]:
        """Compare the files' times with that of a file touched now: both are the file system's. Or with `now`, in seconds."""
        found: dict[int, float] = {}
        for trial in _running(study):
            name = (owner_of(trial) or {}).get("process")
            if name is None:
                continue
            with suppress(OSError):
                touched = (self._beats / name).stat().st_mtime
                now = self._now() if now is None else now
                found[trial.number] = now - touched
        return found

    def _now(self) -> float:
        probe = self._beats / f".now-{os.getpid()}"
        probe.touch()
        now = probe.stat().st_mtime
        probe.unlink(missing_ok=True)
        return now


class PostgresqlCoordination:
    """A study on a PostgreSQL server."""

    def __init__(self, storage: RDBStorage, study: optuna.Study) -> None:
        """Coordinate the processes that run `study`, which is in `storage`."""
        self._storage, self._study = storage, study

    def lock(self) -> AbstractContextManager[None]:
        """Hold an advisory lock of the server; it frees the lock when the connection of its holder ends."""
        return advisory_lock(self._storage, self._study.study_name)

    def beat(self, numbers: Collection[int]) -> None:
        """Record a heartbeat of each trial, with the server's time."""
        for number in numbers:
            beat(self._storage, self._study, number)

    def seconds_since_beats(self, study: optuna.Study) -> dict[int, float]:
        """Compare the heartbeats with the server's time."""
        return seconds_since_beats(self._storage, study)


@contextmanager
def advisory_lock(storage: RDBStorage, name: str, *, kind: str = "study") -> Iterator[None]:
    """Hold PostgreSQL's advisory lock for the name of a study, or of something else, until the end of the block."""
    digest = hashlib.sha256(f"sweeper {kind} {name}".encode()).digest()
    key = int.from_bytes(digest[:KEY_BYTES], "big", signed=True)
    with storage.engine.connect() as connection, connection.begin():
        for setting in LOCK_SETTINGS:
            connection.execute(text(f"SET LOCAL {setting}"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})
        yield


def make_coordination(study: optuna.Study, storage: BaseStorage, url: str, folder: StudyFolder) -> Coordination:
    """Return what keeps the processes of a study apart, whose storage has this URL and whose folder here is `folder`."""
    if isinstance(storage, PostgresqlStorage):
        return PostgresqlCoordination(storage, study)
    return FileCoordination(lock_file(url, folder), beats_folder(url, folder))


def opening_lock(storage: BaseStorage | None, url: str, name: str, folder: StudyFolder) -> AbstractContextManager[None]:
    """Hold the lock of a study that may not exist yet."""
    if isinstance(storage, PostgresqlStorage):
        return advisory_lock(storage, name)
    return exclusive(lock_file(url, folder))


def lock_file(url: str, folder: StudyFolder) -> Path:
    """Return the lock file of a study in files: beside its database, which several folders may share, or in its folder."""
    database = database_path(url)
    return folder.lock_file if database is None else database.with_name(f"{database.name}.lock")


def beats_folder(url: str, folder: StudyFolder) -> Path:
    """Return the folder of the processes' beats, beside the lock file."""
    return lock_file(url, folder).with_suffix(".beats")


class Heartbeat:
    """Beats for this process's running trials from a thread of its own, which a busy job does not hold up."""

    def __init__(self, coordination: Coordination, *, grace_seconds: float) -> None:
        """Beat several times in `grace_seconds`, after which others take a silent process for dead."""
        self._coordination = coordination
        self._interval = grace_seconds / BEATS_PER_GRACE
        self._numbers: set[int] = set()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        """Start the thread."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End the thread."""
        self._ended.set()
        self._thread.join()
        with suppress(Exception):  # the storage may be gone, which its next use reports
            self._coordination.beat(())

    def add(self, number: int) -> None:
        """Beat for this trial at once, and from now on."""
        self._numbers = {*self._numbers, number}
        self._coordination.beat((number,))  # the thread beats for the others

    def remove(self, number: int) -> None:
        """Stop beating for this trial: it has ended."""
        self._numbers = self._numbers - {number}

    def _run(self) -> None:
        while not self._ended.wait(self._interval):
            numbers = self._numbers
            if numbers:  # without, `add` may be beating for the next one at this moment
                # A server may restart, a trial may have just ended: the next beat may reach it.
                with suppress(Exception):
                    self._coordination.beat(numbers)


def _running(study: optuna.Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
