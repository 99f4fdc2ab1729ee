"""A task that records each job's result in a file, for a batch whose launcher raised and returned no results."""

import json
import os
import pickle
import sys
import threading
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import cloudpickle
from hydra.core.hydra_config import HydraConfig
from hydra.types import TaskFunction
from omegaconf import DictConfig

from sweeper.run.folder import write_atomically
from sweeper.study.executors.base import JobResult, call_task, failed, finished
from sweeper.study.executors.worker import ORPHAN_CHECK_SECONDS
from sweeper.study.locks import exclusive, is_locked
from sweeper.study.owner import Owner, identify_process, may_be_alive
from sweeper.study.trial_files import read_texts

_sweeps: Final[set[str]] = set()
"""The sweep whose jobs this process runs."""


@dataclass(frozen=True)
class RecordedTask:
    """Wraps a task function for a launcher. The files are in the sweep's folder, which coordinator and jobs share.

    A running job holds the lock on its lock file, which the kernel releases when the process dies.
    """

    task: TaskFunction
    sweep_dir: Path
    """Absolute."""
    coordinator: Owner = field(default_factory=identify_process)
    """The process that started the jobs. A job on the same host ends when it does."""
    sweep: str = field(default_factory=lambda: uuid.uuid4().hex)
    """Tells this sweep from others of the same process."""

    def __reduce__(self) -> tuple[Callable[[bytes], "RecordedTask"], tuple[bytes]]:
        """Pickle by value: by reference fails for a task that is a closure, or whose name ``hydra.main`` rebinds."""
        return _unpickle, (cloudpickle.dumps((self.task, self.sweep_dir, self.coordinator, self.sweep)),)

    def __call__(self, config: DictConfig) -> Any:
        """Run the job and write its result."""
        _forget_other_sweeps(self.sweep)
        number = int(HydraConfig.get().job.num)
        ended = threading.Event()
        threading.Thread(target=self._exit_when_cancelled, args=(ended,), daemon=True).start()
        try:
            with exclusive(self._lock(number)):
                try:
                    value = call_task(self.task, config)
                except Exception as error:
                    self._write(failed(number, error))
                    raise
                self._write(finished(number, value))
                return value
        finally:
            ended.set()

    def has_started(self, number: int) -> bool:
        """Whether a job has reached its task."""
        return self._lock(number).exists()

    def is_running(self, number: int) -> bool:
        """Whether a live process is running the job's task."""
        return is_locked(self._lock(number))

    def read_result(self, number: int) -> JobResult | None:
        """Return a job's result; None if it has not finished, or if its process died."""
        try:
            record = json.loads(self._result(number).read_text())
        except FileNotFoundError:
            return None
        if isinstance(record["value"], list):  # JSON has no tuples
            record["value"] = tuple(record["value"])
        return JobResult(number=number, texts=read_texts(self.sweep_dir / str(number)), **record)

    def cancel(self) -> None:
        """Ask every running job to exit; a job sees it within `ORPHAN_CHECK_SECONDS`."""
        self._folder.mkdir(exist_ok=True)
        self._cancelled.touch()

    def forget(self, numbers: Iterable[int]) -> None:
        """Delete the files of these jobs."""
        for number in numbers:
            self._lock(number).unlink(missing_ok=True)
            self._result(number).unlink(missing_ok=True)
        self._cancelled.unlink(missing_ok=True)
        with suppress(OSError):  # missing, or not empty: another coordinator has files here
            self._folder.rmdir()

    def _write(self, result: JobResult) -> None:
        record = {key: getattr(result, key) for key in ("value", "pruned", "reason", "error", "retryable", "missing")}
        write_atomically(self._result(result.number), json.dumps(record).encode())

    def _exit_when_cancelled(self, ended: threading.Event) -> None:
        while not ended.wait(ORPHAN_CHECK_SECONDS):
            if self._cancelled.exists() or not may_be_alive(self.coordinator):
                os._exit(1)

    @property
    def _folder(self) -> Path:
        return self.sweep_dir / ".jobs"

    @property
    def _cancelled(self) -> Path:
        """Exists once the coordinator has cancelled its jobs; other coordinators may share the folder."""
        return self._folder / f"cancelled-{self.coordinator['host']}-{self.coordinator['pid']}"

    def _lock(self, number: int) -> Path:
        return self._folder / f"{number}.lock"

    def _result(self, number: int) -> Path:
        return self._folder / f"{number}.json"


def _forget_other_sweeps(sweep: str) -> None:
    """Forget the studies of earlier sweeps, in a process that joblib keeps: one may have been deleted and begun anew."""
    reporting = sys.modules.get("sweeper.study.reporting")  # not loaded, it knows no study
    if reporting is not None and _sweeps != {sweep}:
        reporting.forget_studies()
    _sweeps.clear()
    _sweeps.add(sweep)


def _unpickle(pickled: bytes) -> RecordedTask:
    return RecordedTask(*pickle.loads(pickled))  # noqa: S301 - our own coordinator's
