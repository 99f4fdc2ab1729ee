"""One sweep from its overrides to its last line: read the search, open the study, run it, say how it ended."""

import copy
import os
import warnings
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, replace
from typing import Final

import optuna
from hydra.core.utils import JobReturn
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig
from optuna.trial import FrozenTrial

from sweeper.data.files import check_files
from sweeper.search.definition import Search, read_search
from sweeper.search.job_composer import JobComposer
from sweeper.search.options import StudyOptions
from sweeper.study.coordination import Heartbeat
from sweeper.study.coordinator import Coordinator
from sweeper.study.ending import Ending
from sweeper.study.executors import connect, is_local, make_executor
from sweeper.study.executors.clock import TrialClock
from sweeper.study.executors.in_process import InProcess
from sweeper.study.executors.ray_engine import RayEngine
from sweeper.study.idle_options import typed_settings
from sweeper.study.interrupts import Interrupts
from sweeper.study.locks import while_locked
from sweeper.study.opening import OpenedStudy, open_study
from sweeper.study.parts import make_parts
from sweeper.study.progress import StudyProgress
from sweeper.study.server import patiently
from sweeper.study.time_limits import TimeLimits
from sweeper.study.waiting import while_waiting
from sweeper.study.warm_start import ReadOther
from sweeper.terminal.console import make_console

TRIAL_MODULES: Final = ("sweeper.study.job",)
"""What a worker imports before the limit of its first trial's time begins: torch takes seconds."""


@dataclass(frozen=True, kw_only=True)
class _Opening:
    """What a sweep is run with, once its study is open."""

    composer: JobComposer
    search: Search
    settings: list[str]
    """The command line's overrides of Hydra settings, as they were typed."""
    engine: RayEngine | None
    """The connection to a Ray cluster, if jobs run on one."""
    opened: OpenedStudy
    read: Callable[[], list[FrozenTrial]]
    """Reads the study's trials."""


class Sweep:
    """One sweep, as ``-m`` starts it: `run` reads the search, opens the study, runs it and ends it."""

    opened: OpenedStudy | None = None
    """None until the study is open, and in a dry run."""
    search: Search | None = None
    """None until the overrides are read."""

    def __init__(
        self,
        *,
        context: HydraContext,
        task: TaskFunction,
        config: DictConfig,
        options: StudyOptions,
        read_other: ReadOther | None = None,
    ) -> None:
        """Sweep `task` with the sweep's config and options; `read_other` reads the studies of a warm start."""
        self._read_other = read_other
        self._context, self._task = context, task
        self._config = copy.deepcopy(config)
        self._options = options
        self._jobs = options.n_jobs or len(os.sched_getaffinity(0))

    def run(self, arguments: list[str], on_open: Callable[[], None] | None) -> list[list[JobReturn]]:
        """Run the study. Return the jobs' `JobReturn`s, in lists of `n_jobs`.

        `on_open` is called once the study is open, unless jobs run in this process.

        Raises `StudyError` if the study cannot be started, too many trials failed, or no proposal was feasible, and
        `DataError` if the data of its trials, which run on this machine, cannot be read. Ctrl-C raises KeyboardInterrupt,
        SIGTERM raises SystemExit with status 143; trials that were running are queued again first.
        """
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with warnings.catch_warnings():
            # Some of the samplers and pruners in conf/ are marked experimental.
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            # Some samplers ignore constraints.
            warnings.filterwarnings("ignore", "Constraints have been set, but")
            with Interrupts() as interrupts:
                returned = self._run(arguments, on_open, interrupts)
        in_order = [returned[number] for number in sorted(returned)]
        return [in_order[start : start + self._jobs] for start in range(0, len(in_order), self._jobs)]

    def _run(
        self, arguments: list[str], on_open: Callable[[], None] | None, interrupts: Interrupts
    ) -> dict[int, JobReturn]:
        with ExitStack() as ending:
            try:
                with interrupts.allowed():
                    opening = self._open(arguments, JobComposer(self._context, self._config), ending)
            except KeyboardInterrupt:
                make_console().print("interrupted before the study was open: no trial was started", soft_wrap=True)
                raise
            return {} if opening is None else self._run_study(opening, arguments, on_open, interrupts)

    def _run_study(
        self,
        opening: "_Opening",
        arguments: list[str],
        on_open: Callable[[], None] | None,
        interrupts: Interrupts,
    ) -> dict[int, JobReturn]:
        search, opened = opening.search, opening.opened
        base = search.base
        clock = TrialClock(self._options.trial_timeout)
        progress = StudyProgress(
            opened.trials,
            name=opened.name,
            total=search.total,
            folder=opened.folder.path,
            is_grid=search.is_grid,
            is_accuracy=base is not None,
            target=base.target if base is not None and self._options.direction == "maximize" else None,
            epochs=base.training.epochs if base is not None else None,
            limit=getattr(base.budget, self._options.cost) if base is not None and self._options.cost else None,
            times=TimeLimits(timeout=self._options.timeout, trials=clock),
            read=opening.read,
        )
        executor = make_executor(
            opening.engine,
            self._context,
            self._task,
            self._config,
            lambda job: opening.composer.job(job.overrides, job.number),
            jobs=self._jobs,
            clock=clock,
            modules=TRIAL_MODULES if base is not None and clock.limit is not None else (),
            on_wait=progress.on_wait,
        )
        if on_open is not None and not isinstance(executor, InProcess):
            on_open()
        ending = Ending(opened, search, self._options, [*arguments, *opening.settings])
        with (
            progress,
            while_waiting(progress.on_wait, check=interrupts.check),
            # A trial that is stopped while it writes to the journal holds its lock.
            while_locked(clock.kill_overdue) if clock.limit is not None else nullcontext(),
            Heartbeat(opened.coordination, grace_seconds=self._options.grace_seconds) as heartbeat,
        ):
            coordinator = Coordinator(
                opened=opened,
                search=search,
                options=self._options,
                executor=executor,
                progress=progress,
                interrupts=interrupts,
                heartbeat=heartbeat,
            )
            try:
                coordinator.run()
            except KeyboardInterrupt:
                count = patiently(lambda: coordinator.requeue_running("interrupted"))
                ending.show(progress, f"interrupted: {count} trial{'' if count == 1 else 's'} queued again")
                raise
            except Exception:
                patiently(lambda: coordinator.requeue_running("the study ended first"))
                raise
            patiently(lambda: coordinator.requeue_running("the study ended first"))
            patiently(lambda: ending.conclude(progress, coordinator.why_stopped, missing=coordinator.missing))
        return coordinator.returned

    def _open(self, arguments: list[str], composer: JobComposer, ending: ExitStack) -> "_Opening | None":
        """Read the search, connect its engine, which `ending` closes, and open its study; None after a dry run."""
        if self._options.direction is None:
            direction = "maximize" if composer.is_sweeper_config else "minimize"
            self._options = replace(self._options, direction=direction)
        search = self.search = read_search(arguments, self._options, composer)
        for note in search.notes:
            make_console().print(note, soft_wrap=True)
        if self._options.dry_run:
            make_parts(search, self._options, self._config, self._read_other)  # a dry run refuses what the search would
            search.dry_run(jobs=self._jobs)
            return None
        if search.base is not None and is_local(self._config) and not any("data" in key for key in search.space.keys):
            check_files(search.base.data)  # otherwise every trial would fail
        engine = connect(self._config)
        if engine is not None:
            ending.callback(engine.close)
        # Before the study is open: its folder and storage are then among the overrides, for the jobs.
        settings = [line for line in typed_settings(self._config) if not line.startswith("hydra.mode=")]
        with while_waiting(lambda line: make_console().print(line, soft_wrap=True)):
            opened = self.opened = open_study(search, self._options, self._config, self._read_other)
            # Only the live table reads in another thread; elsewhere that is a connection for nothing.
            read = opened.reader() if make_console().is_terminal else opened.trials.trials
            return _Opening(
                composer=composer, search=search, settings=settings, engine=engine, opened=opened, read=read
            )
