"""Measures what a big study costs its coordinator: real storages, real trials, and jobs that only sleep."""

import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

import optuna
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from omegaconf import DictConfig
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial
from sqlalchemy import text

from sweeper.config.origin import CONFIG_NAME, conf_dir
from sweeper.config.search_path import StudyConfigs
from sweeper.errors import BenchError
from sweeper.reading.locations import resolve_url
from sweeper.search.definition import Search
from sweeper.search.options import StudyOptions
from sweeper.search.quoting import quoted
from sweeper.search.space import Space
from sweeper.study.attributes import MACS, PARAMETERS, RECEPTIVE_FIELD
from sweeper.study.coordination import Heartbeat
from sweeper.study.coordinator import Coordinator
from sweeper.study.executors.base import Job, JobResult
from sweeper.study.executors.process import start_ignoring_sigint
from sweeper.study.interrupts import Interrupts
from sweeper.study.opening import OpenedStudy, open_study
from sweeper.study.progress import StudyProgress
from sweeper.study.server import PostgresqlStorage
from sweeper.study.storage import open_storage
from sweeper.study.storage_url import check_typed, is_postgresql, redacted
from sweeper.terminal.console import make_console

SIZES: Final = (10, 100, 1_000, 3_000, 10_000)
"""Finished trials of a study, at which it is measured."""
TIMED: Final = 40
"""Trials that are run, and then asked for, at each size."""
SECONDS: Final = 0.05
"""What a job sleeps: less than a coordinator needs for as many trials as it has workers."""
EPOCHS: Final = 4
"""Values that a trial has reported."""
SPACE: Final[dict[str, BaseDistribution]] = {
    "+lr": FloatDistribution(1e-4, 1.0, log=True),
    "+dropout": FloatDistribution(0.0, 0.5),
    "+depth": IntDistribution(1, 8),
    "+width": IntDistribution(4, 64),
    "+kind": CategoricalDistribution(["plain", "separable", "residual"]),
}
TABLES_SIZE: Final = "SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'public' AND c.relkind = 'r'"


@dataclass(frozen=True, kw_only=True)
class StudyCost:
    """What one coordinator costs in a study of one size."""

    storage: str
    workers: int
    trials: int
    """Finished trials before the measured ones."""
    trials_per_second: float
    """With jobs so short that the workers wait for the coordinator."""
    ask_milliseconds: float
    """Median time from wanting a proposal to having it: the lock, the sampler, the storage."""
    memory_megabytes: float
    """Resident memory of the coordinator's process."""
    disk_megabytes: float
    """Of the storage."""


class Sleeping:
    """An executor whose jobs sleep, all at the same time and without a process."""

    def __init__(self, *, capacity: int, seconds: float) -> None:
        """Run up to `capacity` jobs, each for so many seconds."""
        self.capacity = capacity
        self._seconds = seconds
        self._ends: dict[int, float] = {}

    def submit(self, job: Job) -> None:
        """Start a job."""
        self._ends[job.number] = time.monotonic() + self._seconds

    def wait(self, seconds: float) -> list[JobResult]:
        """Wait for the first job to end."""
        first = min(self._ends.values(), default=0.0)
        time.sleep(max(0.0, min(seconds, first - time.monotonic())))
        ended = [number for number, end in self._ends.items() if end <= time.monotonic()]
        for number in ended:
            del self._ends[number]
        return [JobResult(number=number, value=_value(number)) for number in ended]

    def cancel(self) -> None:
        """Forget the jobs."""
        self._ends = {}


def measure_study_costs(*, trials: int, workers: Sequence[int], server: str | None) -> Iterator[StudyCost]:
    """Yield the costs of studies up to `trials` trials, in a journal, in sqlite and on the `server`, if one is given.

    Each storage grows in a process of its own, whose memory is measured. Raises `BenchError` if that process ends or
    `server` is no PostgreSQL URL, and `StudyError` if the server cannot be reached.
    """
    if server is not None:
        check_typed(server, "--storage ")
        server = resolve_url(server)
        if not is_postgresql(server):
            raise BenchError(
                f"--storage must be the URL of a PostgreSQL server, but got {redacted(server)}: correct it"
            )
        storage = open_storage(server)
        assert isinstance(storage, PostgresqlStorage)
        storage.engine.dispose()
    sizes = [size for size in SIZES if size < trials]
    for count in workers:
        for name in ("journal", "sqlite", *(["postgresql"] if server else [])):
            with tempfile.TemporaryDirectory() as folder:
                url = {"journal": None, "sqlite": f"sqlite:///{folder}/study.db", "postgresql": server}[name]
                yield from _in_process(name, url, Path(folder), [*sizes, trials], count)


def _in_process(name: str, url: str | None, folder: Path, sizes: Sequence[int], workers: int) -> Iterator[StudyCost]:
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe(duplex=False)
    settings = {"results": theirs, "name": name, "url": url, "folder": folder, "sizes": sizes, "workers": workers}
    process = spawn.Process(target=_measure, kwargs=settings, daemon=True)
    start_ignoring_sigint(process)
    theirs.close()
    try:
        for _ in sizes:
            yield StudyCost(**ours.recv())
    except EOFError as error:
        process.join()
        raise BenchError(f"measuring the study in {name} failed, exit code {process.exitcode}: see above") from error
    finally:
        process.kill()
        process.join()


def _measure(
    *, results: Connection, name: str, url: str | None, folder: Path, sizes: Sequence[int], workers: int
) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    options = StudyOptions(
        direction="maximize",
        storage=url,
        study_name=f"cost-{time.time_ns()}",
        n_trials=1,
        n_jobs=workers,
        max_failure_rate=0.5,
        params=None,
    )
    space = Space(distributions=SPACE, template=tuple(SPACE), grid=None)
    for size in sizes:
        search = Search(
            space=space, check=None, base=None, options=options, application={"name": "sleep", "config": {}}
        )
        opened = open_study(search, options, _config(folder))
        done = len(opened.trials.trials())
        opened.study.add_trials([_finished(number) for number in range(done, size)])
        search = replace(search, options=replace(options, n_trials=size + workers + TIMED))
        rate = _rate(opened, search, Sleeping(capacity=workers, seconds=SECONDS), size)
        asks = [_ask_milliseconds(opened) for _ in range(TIMED)]
        results.send(
            asdict(
                StudyCost(
                    storage=name,
                    workers=workers,
                    trials=size,
                    trials_per_second=rate,
                    ask_milliseconds=statistics.median(asks),
                    memory_megabytes=_resident_megabytes(),
                    disk_megabytes=_bytes(opened, folder) / 1e6,
                )
            )
        )


def _rate(opened: OpenedStudy, search: Search, executor: Sleeping, size: int) -> float:
    """Run the trials that are missing; return how many a second end."""
    console = make_console()
    console.quiet = True
    before = time.monotonic()
    with (
        Interrupts() as interrupts,
        StudyProgress(
            opened.trials, name="", total=size, folder=Path(), is_accuracy=False, console=console
        ) as progress,
        Heartbeat(opened.coordination, grace_seconds=search.options.grace_seconds) as heartbeat,
    ):
        Coordinator(
            opened=opened,
            search=search,
            options=search.options,
            executor=executor,
            progress=progress,
            interrupts=interrupts,
            heartbeat=heartbeat,
        ).run()
    return (len(opened.trials.trials()) - size) / (time.monotonic() - before)


def _ask_milliseconds(opened: OpenedStudy) -> float:
    before = time.perf_counter()
    with opened.lock():
        trial = opened.trials.ask()
    after = time.perf_counter()
    opened.study.tell(trial, _value(trial.number))
    return 1000 * (after - before)


def _config(folder: Path) -> DictConfig:
    Plugins.instance().register(StudyConfigs)  # an entry point does it where the package is installed
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(conf_dir()), job_name="sleep"):
        sweep = [f"hydra.sweep.dir={quoted(str(folder / 'study'))}", "hydra/sweeper/sampler=default"]
        return compose(CONFIG_NAME, overrides=sweep, return_hydra_config=True)


def _value(number: int) -> float:
    """Return a value that looks random, the same in every run."""
    return (number * 0.61803398875) % 1


def _finished(number: int) -> FrozenTrial:
    at = _value(number)
    params = {
        "+lr": 10 ** (-4 * at),
        "+dropout": at / 2,
        "+depth": 1 + number % 8,
        "+width": 4 + number % 61,
        "+kind": ["plain", "separable", "residual"][number % 3],
    }
    return create_trial(
        state=TrialState.COMPLETE,
        value=at,
        params=params,
        distributions=SPACE,
        user_attrs={PARAMETERS: 9_000, MACS: 500_000, RECEPTIVE_FIELD: 22},
        intermediate_values=dict.fromkeys(range(1, EPOCHS + 1), at),
    )


def _resident_megabytes() -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1000


def _bytes(opened: OpenedStudy, folder: Path) -> int:
    if isinstance(opened.storage, PostgresqlStorage):
        with opened.storage.engine.connect() as connection:
            return int(connection.execute(text(TABLES_SIZE)).scalar_one())
    return sum(file.stat().st_size for pattern in ("study/journal.log", "study.db") for file in folder.glob(pattern))
