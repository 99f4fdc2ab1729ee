"""Ends a sweep: copies the best trial, prints the result and the next command, raises if the study failed."""

import shlex

from sweeper.errors import StudyError
from sweeper.search.definition import Search
from sweeper.search.options import StudyOptions
from sweeper.study.folder import trial_folder
from sweeper.study.opening import OpenedStudy
from sweeper.study.progress import StudyProgress


class Ending:
    """Ends one sweep, whether it was interrupted or not."""

    def __init__(self, opened: OpenedStudy, search: Search, options: StudyOptions, arguments: list[str]) -> None:
        """End a sweep of the opened study; `arguments` is its command line after ``-m``."""
        self._opened, self._search, self._options = opened, search, options
        self._arguments = arguments

    def conclude(self, progress: StudyProgress, why_stopped: str) -> None:
        """Print the end of the study. Raises `StudyError` if too many trials failed, or no proposal was feasible."""
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
            smallest = "" if fewest is None else f", the smallest with {fewest:,} parameters"
            raise StudyError(
                f"a search needs a feasible proposal, but all {summary.rejected} were rejected{smallest}: "
                "raise budget.parameters, or search narrower widths"
            )

    def show(self, progress: StudyProgress, why: str, command: str | None) -> None:
        """Copy the best trial to ``best/``, then print `why`, the counts, the best trial and `command`."""
        with self._opened.lock():
            best = self._opened.trials.summary().best
            if best is not None:
                self._opened.folder.keep_best(trial_folder(self._opened.folder.path, best))
        progress.show_end(why, command)

    def command(self, *, more: bool = False) -> str | None:
        """Return the sweep's command, which resumes it. With `more` it asks for twice the trials; None for a grid."""
        if not more:
            return shlex.join(["python", "-m", "sweeper", "-m", *self._arguments])
        if self._search.is_grid:
            return None
        kept = [line for line in self._arguments if not line.startswith("hydra.sweeper.n_trials=")]
        return shlex.join(["python", "-m", "sweeper", "-m", *kept, f"hydra.sweeper.n_trials={2 * self._search.total}"])
