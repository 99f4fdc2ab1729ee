"""One study from its first proposal to its last: asked, judged, run on a free slot, told; until enough, or the target."""

import copy
import os
import shlex
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import optuna
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict, read_write

from sweeper.errors import StudyError
from sweeper.run.folder import OUTPUTS, write_atomically
from sweeper.search.definition import JobComposer, read_search
from sweeper.search.feasibility import UNCHECKED
from sweeper.search.options import StudyOptions
from sweeper.search.space import as_overrides
from sweeper.study.executors.workers import Outcome, Worker, outcome, run_here
from sweeper.study.folder import StudyFolder
from sweeper.study.progress import Board
from sweeper.study.sampler_and_pruner import make_pruner, make_sampler
from sweeper.study.storage import journal_url, open_storage
from sweeper.study.trials import DUPLICATE, Ledger

if TYPE_CHECKING:
    from hydra.plugins.launcher import Launcher

REJECTIONS_PER_TRIAL: Final = 100
"""Proposals rejected in a row before the search gives up: the budget leaves it too little room."""
BASIC_LAUNCHER: Final = "hydra._internal.core_plugins.basic_launcher.BasicLauncher"
HASH_DIGITS: Final = 8
THREAD_SECONDS: Final = 1.0
"""How long a slot may take to notice that its worker is gone."""


@dataclass
class _Job:
    """A trial on its way through a slot."""

    trial: optuna.Trial
    overrides: list[str]
    started: float = field(default_factory=time.perf_counter)


@dataclass(frozen=True, kw_only=True)
class OpenedStudy:
    """A study that this process has begun or gone on with."""

    study: optuna.Study
    folder: Path
    url: str
    """Of its storage, a password included."""


class StudyRun:
    """A study being run by this process, alone or beside others."""

    opened: OpenedStudy | None = None
    """None before there is one to open, and in a dry run."""

    def __init__(
        self,
        *,
        context: HydraContext,
        task: TaskFunction,
        config: DictConfig,
        options: StudyOptions,
        on_open: Callable[[], None] | None,
    ) -> None:
        """Prepare to run what Hydra handed to the sweeper; `on_open` is called once the study is there."""
        self._on_open = on_open
        self._context = context
        self._task = task
        self._config = copy.deepcopy(config)
        self._options = options
        self._lock = threading.RLock()
        self._stopping = threading.Event()
        self._at_once = threading.Event()
        self._why_stopped = ""
        self._in_flight: dict[int, _Job] = {}
        self._returned: dict[int, JobReturn] = {}
        self._rejected_in_a_row = 0
        self._composer = JobComposer(context, self._config)

    def sweep(self, arguments: list[str]) -> list[list[JobReturn]]:
        """Run the study. Raises `StudyError` for one that cannot be begun, or in which too much failed."""
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with warnings.catch_warnings():
            # Some samplers and pruners that are offered by name are still marked experimental.
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            # And some do not use the constraints that the rest is told.
            warnings.filterwarnings("ignore", "Constraints have been set, but")
            self._sweep(arguments)
        returned = [self._returned[number] for number in sorted(self._returned)]
        size = self._jobs()
        return [returned[start : start + size] for start in range(0, len(returned), size)]

    def _sweep(self, arguments: list[str]) -> None:
        self._search = read_search(arguments, self._options, self._composer)
        if self._options.dry_run:
            self._search.dry_run(jobs=self._jobs())
            return
        self._open(arguments)
        total, folder = self._search.total, self._folder.path
        with Board(self._ledger, name=self._name, total=total, folder=folder) as self._board:
            self._board.say_recovered(self._recovered)
            try:
                self._run()
            except KeyboardInterrupt:
                self._interrupt()
                raise
        self._finish()

    # -- before ------------------------------------------------------------------------------------------------

    def _open(self, arguments: list[str]) -> None:
        sampler = make_sampler(self._config.hydra.sweeper.sampler)
        pruner = make_pruner(self._config.hydra.sweeper.pruner)
        # Whatever may be refused is made before the folder is.
        given_storage = open_storage(self._options.storage) if self._options.storage else None
        described = self._search.described()
        prefix = self._config.hydra.runtime.choices.get("search") or self._search.prefix
        self._name = self._options.study_name or f"{prefix}-{described['sha256'][:HASH_DIGITS]}"
        given = any(line.startswith("hydra.sweep.dir=") for line in _unresolved(self._config.hydra.overrides.hydra))
        given = given or not self._composer.ours
        self._folder = StudyFolder(Path(self._config.hydra.sweep.dir if given else OUTPUTS / "studies" / self._name))
        url = self._options.storage or journal_url(self._folder.journal)
        with self._alone():
            self._folder.claim(self._name, described)
            if given_storage is None and not self._folder.journal.exists():
                self._check_no_trials()
            study = optuna.create_study(
                study_name=self._name,
                storage=given_storage or open_storage(url),
                sampler=sampler,
                pruner=pruner,
                direction=self._options.direction,
                load_if_exists=True,
            )
            self._ledger = Ledger(study, self._search.space, max_retry=self._options.max_retry)
            if self._ledger.trials():
                sampler.reseed_rng()  # or a seeded sampler would propose its first points again
            else:
                self._check_no_trials()
            self._recovered = self._ledger.recover(self._folder)
            self._ledger.enqueue_missing(self._search.starts)
        write_atomically(self._folder.multirun, OmegaConf.to_yaml(self._config).encode())
        self._job_settings(arguments, url)
        self.opened = OpenedStudy(study=study, folder=self._folder.path, url=url)
        if self._on_open is not None:
            self._on_open()

    def _check_no_trials(self) -> None:
        """Refuse a folder with trials for a storage without any."""
        if self._folder.holds_trials():
            raise StudyError(
                f"a study's trials must be in its storage, but {self._folder.path} holds trials that the storage does "
                "not know: give the storage they are in, or move the folder away"
            )

    def _job_settings(self, arguments: list[str], url: str) -> None:
        """Let every job find its folder and its trial, by Hydra's settings: the job's own overrides stay as typed."""
        self._arguments = arguments
        # Unresolved: an environment variable may hold a password, which is to reach no terminal and no file.
        lines = _unresolved(self._config.hydra.overrides.hydra)
        self._typed = [line for line in lines if not line.startswith("hydra.mode=")]
        settings = {"hydra.sweep.dir": str(self._folder.path), "hydra.sweeper.study_name": self._name}
        if not self._options.storage:
            settings["hydra.sweeper.storage"] = url
        with read_write(self._config.hydra), open_dict(self._config):
            for key, value in settings.items():
                OmegaConf.update(self._config, key, value)
                quoted = QuotedString(value, Quote.single).with_quotes()
                self._config.hydra.overrides.hydra.append(f"{key}={quoted}")

    # -- while -------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        jobs = self._jobs()
        if self._config.hydra.launcher._target_ != BASIC_LAUNCHER:
            self._run_batches(jobs)
        elif jobs == 1:
            while (job := self._next()) is not None:
                self._settle(job, run_here(self._context, self._task, self._job_config(job)))
        else:
            self._run_slots(min(jobs, self._search.total))

    def _jobs(self) -> int:
        return int(self._options.n_jobs or len(os.sched_getaffinity(0)))

    def _run_slots(self, jobs: int) -> None:
        errors: list[BaseException] = []
        self._workers: dict[int, Worker] = {}

        def slot(index: int) -> None:
            try:
                while (job := self._next()) is not None:
                    if index not in self._workers or not self._workers[index].alive:
                        self._workers[index] = Worker(self._context, self._task)
                    result = self._workers[index].run(self._job_config(job))
                    if self._stopping.is_set() and result.error is not None:
                        return
                    self._settle(job, result)
            except BaseException as error:  # noqa: BLE001 - carried to the main thread
                errors.append(error)
                self._stopping.set()

        threads = [threading.Thread(target=slot, args=(index,), daemon=True) for index in range(jobs)]
        try:
            for thread in threads:
                thread.start()
            while any(thread.is_alive() for thread in threads) and not self._at_once.is_set():
                time.sleep(0.1)
        finally:
            self._stopping.set()
            self._stop_workers()
            for thread in threads:
                thread.join(THREAD_SECONDS)
            self._stop_workers()  # one that was only being started a moment ago
        if errors:
            raise errors[0]

    def _stop_workers(self) -> None:
        for worker in list(self._workers.values()):
            worker.stop()

    def _run_batches(self, size: int) -> None:
        """Run on another launcher of Hydra's: it takes batches of consecutive job numbers, and waits for each."""
        launcher: Launcher = Plugins.instance().instantiate_launcher(
            hydra_context=self._context, task_function=self._task, config=self._config
        )
        while batch := self._batch(size):
            while batch:
                run = 1
                while run < len(batch) and batch[run].trial.number == batch[0].trial.number + run:
                    run += 1
                now, batch = batch[:run], batch[run:]
                returned = launcher.launch([job.overrides for job in now], initial_job_idx=now[0].trial.number)
                for job, one in zip(now, returned, strict=True):
                    self._settle(job, outcome(one))

    def _batch(self, size: int) -> list[_Job]:
        batch: list[_Job] = []
        while len(batch) < size and (job := self._next()) is not None:
            batch.append(job)
        return batch

    def _next(self) -> _Job | None:
        """Take the next trial that has to be trained; None when there is none left to begin."""
        while not self._stopping.is_set():
            with self._alone():
                tally = self._ledger.tally()
                # A grid's points are all queued; a search proposes until enough have been begun.
                is_grid = self._search.space.grid is not None
                enough = not tally.waiting if is_grid else tally.counted + tally.running >= self._search.total
                if enough:
                    return None
                trial = self._ledger.ask()
                feasibility = (
                    self._search.feasibility_check.check(trial.params) if self._search.feasibility_check else UNCHECKED
                )
                if feasibility.reason is not None:
                    self._ledger.reject(trial, feasibility)
                    self._board.say_rejected(trial.number, feasibility.reason)
                    self._rejected_in_a_row += 1
                    if self._rejected_in_a_row >= REJECTIONS_PER_TRIAL:
                        self._stop(f"{REJECTIONS_PER_TRIAL} proposals in a row were rejected", at_once=False)
                    continue
                self._rejected_in_a_row = 0
                repeated = self._ledger.accept(trial, feasibility)
                if repeated is not None:
                    self._board.say_repeated(trial.number, repeated)
                    continue
                job = _Job(trial, as_overrides(self._search.space, trial.params))
                self._in_flight[trial.number] = job
                return job
        return None

    def _settle(self, job: _Job, result: Outcome) -> None:
        with self._alone():
            if self._in_flight.pop(job.trial.number, None) is None:
                return  # queued again meanwhile: the study was interrupted
            if result.returned is not None:
                self._returned[job.trial.number] = result.returned
            failed = self._ledger.settle(job.trial, result)
            seconds = time.perf_counter() - job.started
            self._board.say_ended(job.trial.number, result, seconds, again=result.error is not None and not failed)
            if failed and self._ledger.tally().failed > self._options.max_failure_rate * self._search.total:
                self._stop("too many trials failed")
            target = self._search.target
            if result.value is not None and not result.pruned and result.value >= target:
                self._stop(f"trial {job.trial.number} reached the target of {target:.2%}")

    def _stop(self, why: str, *, at_once: bool = True) -> None:
        """Begin no more trials; `at_once` ends the running ones too, to be queued again."""
        self._why_stopped = self._why_stopped or why
        self._stopping.set()
        if at_once:
            self._at_once.set()

    def _job_config(self, job: _Job) -> DictConfig:
        config = self._composer.job(job.overrides)
        with open_dict(config):
            config.hydra.job.id = str(job.trial.number)
            config.hydra.job.num = job.trial.number
        return config

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other processes on this study out: between counting its trials and asking for one, none may be begun."""
        with self._lock, self._folder.turn():
            yield

    # -- after -------------------------------------------------------------------------------------------------

    def _interrupt(self) -> None:
        count = self._requeue("interrupted")
        self._keep_best()
        self._board.show_end(f"interrupted: {count} trial{'' if count == 1 else 's'} queued again", self._command())

    def _requeue(self, why: str) -> int:
        """Queue what was running again; return how many trials that is."""
        with self._alone():
            # An interruption between asking for a trial and noting it leaves one that only the ledger knows.
            numbers = {*self._in_flight, *self._ledger.own()}
            self._in_flight.clear()
            return sum(self._ledger.requeue(number, self._folder, why) for number in sorted(numbers))

    def _finish(self) -> None:
        self._requeue("the study ended first")
        tally = self._ledger.tally()
        self._keep_best()
        is_grid = self._search.space.grid is not None
        done = not (tally.running or tally.waiting) if is_grid else tally.counted >= self._search.total
        hopeless = tally.rejected > 0 and tally.counted == 0
        broken = tally.failed > self._options.max_failure_rate * self._search.total
        self._board.show_end(self._why_stopped or "done", None if hopeless or broken else self._command(more=done))
        if broken:
            raise StudyError(
                f"at most {self._options.max_failure_rate:.0%} of {self._search.total} trials may fail "
                f"(hydra.sweeper.max_failure_rate), but {tally.failed} did: their reasons are in {self._folder.path}"
            )
        if hopeless:
            smallest = self._ledger.smallest()
            counted = "" if smallest is None else f", the smallest of {smallest:,} parameters"
            raise StudyError(
                f"no proposal may be trained: {tally.rejected} were rejected{counted}: "
                "raise budget.parameters, or search narrower widths"
            )

    def _keep_best(self) -> None:
        with self._alone():
            best = self._ledger.tally().best
            if best is not None:
                self._folder.keep_best(best.user_attrs.get(DUPLICATE, best.number))

    def _command(self, *, more: bool = False) -> str | None:
        """Return what was typed, to be typed again; with twice the trials for `more`. None when there is no more."""
        if not more:
            return shlex.join(["python", "-m", "sweeper", "-m", *self._arguments, *self._typed])
        if self._search.space.grid is not None:
            return None
        typed = [line for line in self._typed if not line.startswith("hydra.sweeper.n_trials=")]
        trials = f"hydra.sweeper.n_trials={2 * self._search.total}"
        return shlex.join(["python", "-m", "sweeper", "-m", *self._arguments, *typed, trials])


def _unresolved(lines: ListConfig) -> list[str]:
    contained = OmegaConf.to_container(lines, resolve=False)
    assert isinstance(contained, list)
    return [str(line) for line in contained]
