"""One sweep from its overrides to its last line: read the search, open the study, run it, say how it ended."""

import copy
import os
import shlex
import warnings
from collections.abc import Callable

import optuna
from hydra.core.utils import JobReturn
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from sweeper.errors import StudyError
from sweeper.search.definition import Search, read_search
from sweeper.search.job_composer import JobComposer
from sweeper.search.options import StudyOptions
from sweeper.study.coordinator import Coordinator
from sweeper.study.executors import make_executor
from sweeper.study.folder import trial_folder
from sweeper.study.interrupts import Interrupts
from sweeper.study.opening import OpenedStudy, open_study, typed_settings
from sweeper.study.progress import StudyProgress


class Sweep:
    """What ``-m`` starts. Hydra hands it over in pieces; `run` puts them together."""

    opened: OpenedStudy | None = None
    """None until the study is open, and in a dry run."""

    def __init__(self, *, context: HydraContext, task: TaskFunction, config: DictConfig, options: StudyOptions) -> None:
        """Sweep that task with that config and those options."""
        self._context, self._task = context, task
        self._config = copy.deepcopy(config)
        self._options = options
        self._jobs = options.n_jobs or len(os.sched_getaffinity(0))

    def run(self, arguments: list[str], on_open: Callable[[], None] | None) -> list[list[JobReturn]]:
        """Run the study; `on_open` is called once it is open. Return Hydra's records of the jobs, `n_jobs` in a row.

        Raises `StudyError` for a study that cannot be started, or in which too many trials failed.
        """
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with warnings.catch_warnings():
            # Some samplers and pruners that conf/ offers are still marked experimental.
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            # Some samplers make no use of constraints.
            warnings.filterwarnings("ignore", "Constraints have been set, but")
            returned = self._run(arguments, on_open)
        in_order = [returned[number] for number in sorted(returned)]
        return [in_order[start : start + self._jobs] for start in range(0, len(in_order), self._jobs)]

    def _run(self, arguments: list[str], on_open: Callable[[], None] | None) -> dict[int, JobReturn]:
        composer = JobComposer(self._context, self._config)
        search = read_search(arguments, self._options, composer)
        if self._options.dry_run:
            search.dry_run(jobs=self._jobs)
            return {}
        typed = [line for line in typed_settings(self._config) if not line.startswith("hydra.mode=")]
        opened = self.opened = open_study(search, self._options, self._config)
        if on_open is not None:
            on_open()
        executor = make_executor(
            self._context,
            self._task,
            self._config,
            lambda job: composer.job(job.overrides, job.number),
            jobs=min(self._jobs, search.total),
        )
        end = _End(opened, search, self._options, [*arguments, *typed])
        with (
            Interrupts() as interrupts,
            StudyProgress(opened.trials, name=opened.name, total=search.total, folder=opened.folder.path) as progress,
        ):
            progress.on_recovered(opened.recovered)
            coordinator = Coordinator(
                opened=opened,
                search=search,
                options=self._options,
                executor=executor,
                progress=progress,
                interrupts=interrupts,
            )
            try:
                coordinator.run()
            except KeyboardInterrupt:
                count = coordinator.requeue_running("interrupted")
                end.show(progress, f"interrupted: {count} trial{'' if count == 1 else 's'} queued again", end.command())
                raise
            except Exception:
                coordinator.requeue_running("the study ended first")
                raise
            coordinator.requeue_running("the study ended first")
            end.conclude(progress, coordinator.why_stopped)
        return coordinator.returned


class _End:
    """How a sweep ends: the best trial kept, what is said, which command goes on, and whether it is an error."""

    def __init__(self, opened: OpenedStudy, search: Search, options: StudyOptions, typed: list[str]) -> None:
        self._opened, self._search, self._options = opened, search, options
        self._typed = typed

    def conclude(self, progress: StudyProgress, why_stopped: str) -> None:
        """Say how the study ended. Raises `StudyError` if too many trials failed, or no proposal was feasible."""
        summary = self._opened.trials.summary()
        if self._search.is_grid:
            is_done = not (summary.running or summary.waiting)
        else:
            is_done = summary.counted >= self._search.total
        nothing_feasible = summary.rejected > 0 and summary.counted == 0
        too_many_failed = summary.failed > self._options.max_failure_rate * self._search.total
        offers_more = not (nothing_feasible or too_many_failed)
        self.show(progress, why_stopped or "done", self.command(more=is_done) if offers_more else None)
        if too_many_failed:
            raise StudyError(
                f"at most {self._options.max_failure_rate:.0%} of {self._search.total} trials may fail "
                f"(hydra.sweeper.max_failure_rate), but {summary.failed} did: "
                f"their reasons are in {self._opened.folder.path}"
            )
        if nothing_feasible:
            fewest = self._opened.trials.fewest_parameters()
            counted = "" if fewest is None else f", the smallest of {fewest:,} parameters"
            raise StudyError(
                f"no proposal may be trained: {summary.rejected} were rejected{counted}: "
                "raise budget.parameters, or search narrower widths"
            )

    def show(self, progress: StudyProgress, why: str, command: str | None) -> None:
        """Copy the best trial to ``best/``, then print counts, best, and the command that goes on."""
        with self._opened.lock():
            best = self._opened.trials.summary().best
            if best is not None:
                self._opened.folder.keep_best(trial_folder(self._opened.folder.path, best))
        progress.show_end(why, command)

    def command(self, *, more: bool = False) -> str | None:
        """Return the command that was typed; with twice the trials for `more`, None for a grid, which has no more."""
        if not more:
            return shlex.join(["python", "-m", "sweeper", "-m", *self._typed])
        if self._search.is_grid:
            return None
        typed = [line for line in self._typed if not line.startswith("hydra.sweeper.n_trials=")]
        return shlex.join(["python", "-m", "sweeper", "-m", *typed, f"hydra.sweeper.n_trials={2 * self._search.total}"])
