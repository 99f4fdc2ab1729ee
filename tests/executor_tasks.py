"""The jobs of the executors' contract suite, and a process that runs some: ``executor_tasks.py KIND FOLDER DO…``."""

import functools
import math
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from hydra import compose, initialize_config_dir
from hydra._internal.callbacks import Callbacks
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import HydraContext
from omegaconf import DictConfig

from sweeper.errors import TrainingDivergedError
from sweeper.search.job_composer import JobComposer
from sweeper.study.executors import connect, make_executor
from sweeper.study.executors.base import Executor, Job, PrunedAt
from sweeper.study.executors.clock import TrialClock
from sweeper.study.waiting import waiting

KINDS = {
    "in_process": ["hydra/launcher=basic"],
    "workers": ["hydra/launcher=basic"],
    "joblib": ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"],
    "submitit": ["hydra/launcher=submitit_local", "+hydra.sweeper.n_jobs=2"],
    "slurm": ["hydra/launcher=submitit_slurm", "hydra.launcher.array_parallelism=2"],
    "ray": ["hydra/launcher=ray"],
}
"""Overrides that choose each executor."""

NAP_SECONDS = 0.3


class Unpicklable:
    """A number that stays in its process."""

    def __float__(self) -> float:
        return 3.0

    def __reduce__(self) -> str:
        raise TypeError("not to be pickled")


class Unreadable(float):
    """A number that leaves its process, but cannot be read in another one."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _refuse, ()


def _refuse() -> None:
    raise ModuleNotFoundError("no such module here")


class Unshown:
    """An object without a text."""

    def __repr__(self) -> str:
        raise ValueError


VALUES = {
    "one": 1.0,
    "unshown": Unshown(),
    "prune": PrunedAt(value=0.5),
    "nothing": None,
    "infinite": math.inf,
    "huge": 10**400,
    "long": "x" * 10_000,
    "array": np.array([1.0, 2.0]),
}
"""What the jobs return that do nothing else."""


def _die_once(config: DictConfig) -> float:
    """Kill the first process that gets here; another returns a number."""
    if len(list(Path(config.folder).glob("started-*-die once"))) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return 4.0


def _stop(_: DictConfig) -> None:
    """Start a process, and stop, as by ``kill -STOP``."""
    _start_processes(_)
    os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(600)


def _ignore(_: DictConfig) -> None:
    """Hang, and ignore SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(600)


def _block(_: DictConfig) -> None:
    """Hang in C code that takes no signal."""
    signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals))
    time.sleep(600)


def _finish_late(config: DictConfig) -> float:
    """Hang for as long as the test says, then return a number."""
    while not (Path(config.folder) / "finish").exists():
        time.sleep(0.001)
    return 7.0


def _sleep(_: DictConfig) -> float:
    """Take longer than another has to wait for room."""
    time.sleep(3)
    return 3.0


def _surroundings(config: DictConfig) -> float | None:
    """Return a number from the environment, if the working directory is the coordinator's."""
    return float(os.environ["SURROUNDINGS"]) if Path.cwd() == Path(config.cwd) else None


def _start_processes(_: DictConfig) -> float:
    """Start a process with multiprocessing, as torch's DataLoader does, and leave it running."""
    multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,), daemon=True).start()
    return 6.0


def _start_and_hang(config: DictConfig) -> None:
    """Start a process, and do not end by itself."""
    _start_processes(config)
    time.sleep(600)


class UnspeakableError(Exception):
    """An error without a text."""

    def __str__(self) -> str:
        raise ValueError


def _wait(_: DictConfig) -> float:
    """Wait for a server twice, as a job does whose storage is on one that restarts."""
    for _time in range(2):
        waiting().on_begin("the storage does not answer")
        waiting().on_end("the storage answers again")
    return 1.0


class NoException(BaseException):
    """What an ``except Exception`` does not catch."""


def _raise(error: BaseException) -> None:
    raise error


CALLS: dict[str, Callable[[DictConfig], Any]] = {
    "wait": _wait,
    "base": lambda _: _raise(NoException("two\nlines")),
    "interrupt": lambda _: _raise(KeyboardInterrupt()),
    "die once": _die_once,
    "stop": _stop,
    "ignore": _ignore,
    "block": _block,
    "finish late": _finish_late,
    "sleep": _sleep,
    "large": lambda _: np.ones(10**5),
    "surroundings": _surroundings,
    "unpicklable": lambda _: Unpicklable(),
    "unreadable": lambda _: Unreadable(5),
    "start": _start_processes,
    "start and hang": _start_and_hang,
    "unspeakable": lambda _: _raise(UnspeakableError()),
    "prune itself": lambda _: _raise(optuna.TrialPruned("no\nmemory")),
}
"""What the jobs do that only some executors' tests ask for."""


def task(config: DictConfig, payload: bytes = b"") -> Any:  # noqa: ARG001 - it is only carried
    """Do what the job's override says, and leave a file that names the process as soon as it has started."""
    started = Path(config.folder) / f"started-{os.getpid()}-{config.do}"
    started.touch()
    if config.do in VALUES:
        return VALUES[config.do]
    if config.do in CALLS:
        return CALLS[config.do](config)
    match config.do:
        case "nap":
            time.sleep(NAP_SECONDS)
            return 2.0
        case "hang":
            time.sleep(600)
        case "raise":
            raise ValueError("two\nlines")
        case "diverge":
            raise TrainingDivergedError("lower the learning rate")
        case "exit":
            sys.exit(3)
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError(config.do)


def open_executor(
    kind: str,
    folder: Path,
    payload: bytes = b"",
    overrides: Sequence[str] = (),
    on_wait: Callable[[str], None] = lambda _: None,
) -> Executor:
    """The executor of that kind for `task`, whose jobs leave their files in the folder; `payload` is sent along."""
    conf = folder / "conf"
    conf.mkdir(parents=True, exist_ok=True)
    (conf / "config.yaml").write_text(
        f"do: one\nfolder: {folder}\ncwd: {Path.cwd()}\nnamed: ${{oc.env:SURROUNDINGS,0}}\nhydra: {{sweep: {{dir: {folder}/sweep}}, output_subdir: null}}\n"
    )
    quiet = ["hydra/job_logging=none", "hydra/hydra_logging=none"]
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(conf), job_name="contract"):
        config = compose("config", overrides=[*KINDS[kind], *quiet, *overrides], return_hydra_config=True)
        context = HydraContext(config_loader=GlobalHydra.instance().config_loader(), callbacks=Callbacks())
    HydraConfig.instance().set_config(config)
    composer = JobComposer(context, config)
    jobs = 1 if kind == "in_process" else 2
    return make_executor(
        connect(config),
        context,
        functools.partial(task, payload=payload),
        config,
        lambda job: composer.job(job.overrides, job.number),
        jobs=jobs,
        clock=TrialClock(config.hydra.sweeper.get("trial_timeout")),
        on_wait=on_wait,
    )


def make_job(number: int, do: str, *, is_retry: bool = False) -> Job:
    """A job that does that."""
    return Job(number=number, overrides=[f"do={do}"], is_retry=is_retry)


def main() -> None:
    """Run jobs to their end on a new executor."""
    kind, folder, *actions = sys.argv[1:]
    executor = open_executor(kind, Path(folder))
    try:
        for number, do in enumerate(actions):
            executor.submit(make_job(number, do))
        left = len(actions)
        while left:
            left -= len(executor.wait(1))
    finally:
        executor.cancel()


if __name__ == "__main__":
    main()
