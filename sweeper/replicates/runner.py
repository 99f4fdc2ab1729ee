"""Trains the missing replicates on all cores: complete runs are reused, a failure or Ctrl-C loses no other run."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sweeper.data.files import check_files
from sweeper.errors import RunFolderError
from sweeper.replicates.progress import ReplicatesProgress
from sweeper.replicates.replicate import Replicate, check_complete, remove_unfinished
from sweeper.replicates.training import evaluate, train
from sweeper.run.folder import RunFolder
from sweeper.study.executors.base import Job, JobResult
from sweeper.study.executors.workers import Workers
from sweeper.study.interrupts import Interrupts
from sweeper.study.locks import exclusive, is_locked
from sweeper.terminal.console import display_path, make_console

WAIT_SECONDS: Final = 0.5
LOCK: Final = ".lock"
"""Name of the lock file in the folder of replicates: a second command waits until the first one ends."""


@dataclass(frozen=True, kw_only=True)
class FailedReplicate:
    """A replicate whose training failed."""

    run: Replicate
    reason: str
    """One line."""


def train_replicates(
    folder: Path, runs: Sequence[Replicate], *, title: str, command: str, workers: int | None = None
) -> list[FailedReplicate]:
    """Train the runs that are not complete; return those that failed, which the same call tries again.

    `folder` holds all of them, `title` is their name for display, `command` the shell command that goes on after Ctrl-C,
    `workers` the number of runs at a time, by default one per core. No torch is imported in this process.

    Raises before anything is trained: `RunFolderError` if a complete run has another config than asked for, or if the
    folder cannot be written; `DataError` if the data cannot be read. Raises KeyboardInterrupt after Ctrl-C, once the complete runs are counted.
    """
    for data in {run.conf.data.name: run.conf.data for run in runs if not run.is_complete()}.values():
        check_files(data)
    with locked(folder, waits_aloud=True):
        check_complete(runs)
        remove_unfinished(runs)
        missing = [run for run in runs if not run.is_complete()]
        with ReplicatesProgress(title, missing, folder=folder, reused=len(runs) - len(missing)) as progress:
            return _execute(missing, train, progress, command=command, workers=workers)


def evaluate_replicates(
    folder: Path, runs: Sequence[Replicate], *, title: str, command: str, workers: int | None = None
) -> list[FailedReplicate]:
    """Evaluate complete runs without validation on the test set, each network once; return those that failed.

    The arguments and errors are those of `train_replicates`.
    """
    with locked(folder):
        missing = [run for run in runs if not RunFolder(run.folder).test.exists()]
        if not missing:
            return []
        with ReplicatesProgress(
            title, missing, folder=folder, reused=len(runs) - len(missing), is_test=True
        ) as progress:
            return _execute(missing, evaluate, progress, command=command, workers=workers)


@contextmanager
def locked(folder: Path, *, waits_aloud: bool = False) -> Iterator[None]:
    """Hold the lock of a folder of replicates; with `waits_aloud`, say so if another command holds it.

    Raises `RunFolderError` if the folder cannot be written.
    """
    try:
        if waits_aloud and is_locked(folder / LOCK):
            make_console().print(f"waiting: another command trains in {display_path(folder)}/", soft_wrap=True)
        with exclusive(folder / LOCK):
            yield
    except OSError as error:
        raise RunFolderError(
            f"{error.filename or folder} cannot be written ({error.strerror or error}): make its folder writable"
        ) from error


def _execute(
    runs: Sequence[Replicate],
    function: Callable[[tuple[int, Replicate]], JobResult],
    progress: ReplicatesProgress,
    *,
    command: str,
    workers: int | None,
) -> list[FailedReplicate]:
    """Call `function` in workers with each run and its position; return the failures."""
    capacity = workers or len(os.sched_getaffinity(0))
    executor = Workers(function, lambda job: (job.number, runs[job.number]), capacity=capacity)
    failures = []
    waiting = list(range(len(runs)))
    running: dict[int, float] = {}
    with Interrupts() as interrupts:
        try:
            while waiting or running:
                interrupts.check()
                while waiting and len(running) < capacity:
                    number = waiting.pop(0)
                    running[number] = time.monotonic()
                    progress.on_started(runs[number])
                    executor.submit(Job(number=number, overrides=[]))
                with interrupts.allowed():
                    results = executor.wait(WAIT_SECONDS)
                for result in results:
                    run, seconds = runs[result.number], time.monotonic() - running.pop(result.number)
                    progress.on_finished(run, result, seconds)
                    if result.error is not None:
                        failures.append(FailedReplicate(run=run, reason=result.error))
        except KeyboardInterrupt:
            progress.show_interruption(command)
            raise
        finally:
            executor.cancel()
    return failures
