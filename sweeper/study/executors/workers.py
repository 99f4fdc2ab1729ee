"""Who runs jobs on this machine: this process, or slots, each a thread with one persistent process of its own."""

import contextlib
import io
import math
import multiprocessing
import os
import pickle
import signal
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess

import cloudpickle
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, run_job
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from sweeper.errors import TrainingDivergedError
from sweeper.study.executors.worker import work
from sweeper.study.job import PrunedAt


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a job ended."""

    value: float | None
    """The job's value, or the last one before it was pruned; None for a failed one."""
    pruned: bool
    error: str | None
    """Why it failed, one line; None unless it did."""
    certain: bool = False
    """Whether it would fail again just so: a run that diverged does, to the bit."""
    returned: JobReturn | None = None
    """What Hydra says of the job; None where its worker died."""


def run_here(context: HydraContext, task: TaskFunction, config: DictConfig) -> Outcome:
    """Run one job of a sweep in this process."""
    returned = run_job(
        hydra_context=context,
        task_function=task,
        config=config,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
    )
    return outcome(returned)


def outcome(returned: JobReturn) -> Outcome:
    """Read Hydra's JobReturn."""
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # where Hydra repeats what the outcome says
            value = returned.return_value
    except Exception as error:  # noqa: BLE001 - whatever a job raises is that job's failure
        certain = isinstance(error, TrainingDivergedError)
        return Outcome(value=None, pruned=False, error=one_line(error), certain=certain, returned=returned)
    if isinstance(value, PrunedAt):
        return Outcome(value=value.value, pruned=True, error=None, returned=returned)
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if math.isnan(number):
        reason = f"a job must return a number, but got {value!r}"
        return Outcome(value=None, pruned=False, error=reason, returned=returned)
    return Outcome(value=number, pruned=False, error=None, returned=returned)


def one_line(error: BaseException) -> str:
    """Return an error as one line."""
    text = " ".join(str(error).split())
    return text if type(error).__module__.startswith("sweeper") and text else f"{type(error).__name__}: {text}"


def start_ignoring_sigint(process: BaseProcess) -> None:
    """Start a process that Ctrl-C, which reaches the whole group, does not end: deaf from its first instruction on."""
    # Begun by the first process that is spawned, the tracker would take the block away again just before.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def as_message(thing: object) -> bytes:
    """Return what goes through a pipe: functions of a person's own script too, which pickle alone refuses."""
    message: bytes = cloudpickle.dumps(thing)
    return message


class Worker:
    """A process that runs jobs one after another: imports and data are paid for once."""

    def __init__(self, context: HydraContext, task: TaskFunction) -> None:
        """Start it; spawned, since a fork would inherit threads' locks; a daemon, so that no exit waits for it."""
        spawn = multiprocessing.get_context("spawn")
        self._connection, theirs = spawn.Pipe()
        self._process = spawn.Process(target=work, args=(theirs, os.getpid()), daemon=True)
        start_ignoring_sigint(self._process)
        theirs.close()
        self._unsent: bytes | None = as_message((context, task, Singleton.get_state()))

    def run(self, config: DictConfig) -> Outcome:
        """Run one job and wait for it. A worker that dies costs this job alone, and has to be replaced."""
        try:
            if self._unsent is not None:
                self._connection.send_bytes(self._unsent)
                self._unsent = None
            self._connection.send_bytes(as_message(config))
            received: Outcome = pickle.loads(self._connection.recv_bytes())  # noqa: S301 - our worker's own
        except (EOFError, OSError):
            self._process.join()
            return Outcome(value=None, pruned=False, error=f"its worker died (exit code {self._process.exitcode})")
        return received

    @property
    def alive(self) -> bool:
        """Whether it can take another job."""
        return self._process.is_alive()

    def stop(self) -> None:
        """End it, in the middle of a job too."""
        self._process.kill()
        self._process.join()
        self._connection.close()
