"""Trains one run in the terminal: its progress, its report, its result, or where it was interrupted."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from sweeper.errors import TrainingDivergedError

if TYPE_CHECKING:
    from sweeper.run.experiment import CompletedRun
    from sweeper.run.listener import Listener


def show_run(train: Callable[["Listener"], "CompletedRun"], folder: Path) -> "CompletedRun":
    """Call `train` with the listener that shows its progress; write the report of the run in `folder`, show the result.

    Raises what `train` raises, after a report of the epochs that were completed.
    """
    from sweeper.terminal.run_progress import RunProgress  # noqa: PLC0415 - rich, torch

    with RunProgress() as progress:
        try:
            completed = train(progress)
        except (TrainingDivergedError, KeyboardInterrupt) as error:
            if isinstance(error, KeyboardInterrupt):
                progress.show_interruption()
            from sweeper.report.run_report import write_partial_report  # noqa: PLC0415 - matplotlib

            write_partial_report(folder)
            raise
    from sweeper.report.run_report import try_to_write_report  # noqa: PLC0415 - matplotlib: half a second, after training

    next_command, warning = try_to_write_report(folder)
    progress.show_result(completed, next_command=next_command, warning=warning)
    return completed
