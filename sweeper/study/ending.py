"""Ends a sweep: copies the best trial, prints the result and the next commands, raises if the study failed."""

import sys
from dataclasses import asdict, replace

from sweeper.disk import disk_error
from sweeper.errors import StudyError
from sweeper.search.definition import Search
from sweeper.search.options import StudyOptions
from sweeper.search.within_budget import advice
from sweeper.shell import program
from sweeper.study.commands import running_program
from sweeper.study.folder import trial_folder
from sweeper.study.headline import Headline, study_headline
from sweeper.study.opening import OpenedStudy
from sweeper.study.progress import StudyProgress
from sweeper.study.restoring import describe_elsewhere, restore_trials
from sweeper.study.server import PostgresqlStorage
from sweeper.terminal.console import display_path
from sweeper.terminal.formats import short_percent


class Ending:
    """Ends one sweep, whether it was interrupted or not."""

    def __init__(self, opened: OpenedStudy, search: Search, options: StudyOptions, arguments: list[str]) -> None:
        """End a sweep of the opened study; `arguments` is its command line after ``-m``."""
        self._opened, self._search, self._options = opened, search, options
        self._arguments = arguments

    def conclude(self, progress: StudyProgress, why_stopped: str, *, missing: str | None = None) -> None:
        """Print the end of the study. Raises `StudyError` if it failed, with the reason in place of `why_stopped`.

        It failed if too many trials did, if no proposal was feasible, or if the config key `missing` has no value.
        """
        failure = self._failure(missing)
        self.show(progress, why_stopped if failure is None else "", is_resumable=missing is None)
        if failure is not None:
            raise StudyError(failure)

    def _failure(self, missing: str | None) -> str | None:
        """Return why the study failed, one line; None if it did not."""
        summary, folder = self._opened.trials.summary(), display_path(self._opened.folder.path)
        if missing is not None:
            return f"every job needs a value of {missing}, but its config has none (???): add {missing}=VALUE"
        if self._search.has_too_many(summary.failed):
            return (
                f"at most {short_percent(self._options.max_failure_rate)} of {self._search.total} trials may fail "
                f"(hydra.sweeper.max_failure_rate), but {summary.failed} did: their reasons are in {folder}"
            )
        if summary.rejected > 0 and not (summary.counted or summary.running or summary.waiting):
            fewest = self._opened.trials.fewest_parameters()
            if fewest is None:
                how, fix = "", f"change what is searched, their reasons are in {folder}"
            else:
                how = f", the smallest with {fewest:,} parameters"
                fix = advice()
            return f"a search needs a feasible proposal, but all {summary.rejected} were rejected{how}: {fix}"
        return None

    def show(self, progress: StudyProgress, why: str, *, is_resumable: bool = True) -> None:
        """Copy the best trial to ``best/``, then print the headline, the best trial, `why`, and the commands.

        A study that is not resumable would fail again: it has no commands.
        """
        if isinstance(self._opened.storage, PostgresqlStorage):
            known = len(self._opened.trials.trials())
            is_ours = self._search.base is not None
            engine, name, folder = self._opened.storage.engine, self._opened.name, self._opened.folder
            restore_trials(engine, name, folder, known=known, is_ours=is_ours)
        unkept = self._keep_best()
        numbers = [trial.number for trial in self._opened.trials.trials()]
        headline = self._headline()
        if not is_resumable:
            headline = replace(headline, commands=())
        why = "; ".join(part for part in (why, unkept) if part)
        progress.show_end(headline, why, elsewhere=describe_elsewhere(self._opened.folder.path, numbers))

    def _keep_best(self) -> str:
        """Copy the best trial to ``best/``. Return why that fails, one line, else an empty string: it hides no result."""
        with self._opened.lock():
            best = self._opened.trials.summary().best
            try:
                if best is not None:
                    self._opened.folder.keep_best(trial_folder(self._opened.folder.path, best))
                    is_one = len(best.values) == 1
                    self._opened.folder.write_results([best] if is_one else self._opened.study.best_trials)
            except OSError as error:
                return f"best/ could not be written: {disk_error(error) or error}"
        return ""

    def _headline(self) -> Headline:
        return study_headline(
            self._opened.trials.trials(),
            self._opened.trials.goal,
            folder=self._opened.folder.path,
            search=self._search.record(),
            # Another process may have written multirun.yaml since.
            sweep={"hydra": {"sweeper": {**asdict(self._options), "sampler": {"_target_": self._opened.sampler}}}},
            program=_program(is_ours=self._search.base is not None),
            arguments=self._arguments,
            lost=self._opened.lost(),
        )


def _program(*, is_ours: bool) -> list[str]:
    """Return the words that start this process's application."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)  # None for a script
    started = running_program(sys.argv, spec.name.removesuffix(".__main__") if spec else None)
    return [*program(), *started[3 if spec else 2 :]] if is_ours else started
