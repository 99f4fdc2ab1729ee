"""Architecture search for small CNNs under a parameter budget: Hydra composes, torch trains, Optuna searches.

From Python: ``sweeper.compose(["model=gap"])`` returns a typed config, ``sweeper.run(conf)`` trains it, and
``sweeper.search(["model.dropout=0.05,0.1"])`` runs what ``-m`` does. In the jobs of any Hydra application ``sweeper.report``
reports a value, after which a pruner may end the job, and ``sweeper.constraint`` adds a constraint on its configs.
"""

from contextlib import nullcontext
from typing import TYPE_CHECKING

# A package binds its name in its parent when it is first imported. Import these now, so that the functions of the same
# names replace them; imported later, they would replace the functions.
import sweeper.report as _report_package  # noqa: F401
import sweeper.run as _run_package  # noqa: F401
import sweeper.search as _search_package  # noqa: F401
from sweeper.errors import TrainingDivergedError
from sweeper.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from omegaconf import DictConfig

    from sweeper.cli.search import CompletedSearch
    from sweeper.config.schema import ExperimentConf
    from sweeper.run.experiment import CompletedRun

__all__ = ["__version__", "compose", "constraint", "report", "run", "search"]


# All functions import lazily: torch alone takes two seconds to import, and `import sweeper` should be fast.
def compose(overrides: "Sequence[str]" = ()) -> "ExperimentConf":
    """Compose the config as the command line would with these overrides.

    Restores Hydra's global state. Raises `sweeper.errors.ConfigError`.
    """
    from sweeper.config.composition import compose as compose_config  # noqa: PLC0415

    return compose_config(overrides)


def run(conf: "ExperimentConf", *, folder: "Path | None" = None, show: bool = True) -> "CompletedRun":
    """Train one network and write its files and report, by default into a new folder below ``outputs/runs``.

    `show` prints the progress. A run that diverges or is interrupted gets a partial report before its exception
    propagates. Raises the errors of `sweeper.run.experiment.run`, all of them `sweeper.errors.SweeperError`.
    """
    from sweeper.report import run_report  # noqa: PLC0415
    from sweeper.run.experiment import run as run_experiment  # noqa: PLC0415
    from sweeper.run.folder import new_run_path  # noqa: PLC0415
    from sweeper.terminal.run_progress import RunProgress  # noqa: PLC0415

    folder = folder if folder is not None else new_run_path()
    with RunProgress() if show else nullcontext() as progress:
        try:
            completed = run_experiment(conf, folder=folder, listeners=[] if progress is None else [progress])
        except (KeyboardInterrupt, TrainingDivergedError):
            run_report.write_partial_report(folder)
            raise
    next_command, warning = run_report.try_to_write_report(folder)
    if progress is not None:
        progress.show_result(completed, next_command=next_command, warning=warning)
    return completed


def search(arguments: "Sequence[str]") -> "CompletedSearch":
    """Run a search, as ``python -m sweeper -m`` does with these arguments; return its folder, best trial and table.

    The same arguments resume the study, or read it if it is complete. Raises `sweeper.errors.SweeperError`.
    """
    from sweeper.cli.search import search as run_search  # noqa: PLC0415

    return run_search(arguments)


def report(value: float, step: int) -> None:
    """In a job of a study, report its value after a step, from 0 on. In any other process do nothing.

    Raises `optuna.TrialPruned` if the study's pruner ends the trial: let it pass, and the trial counts as pruned.
    Raises `sweeper.errors.StudyError` for a value that is no number, or a step that is no whole number.
    """
    from sweeper.study.reporting import report as report_step  # noqa: PLC0415

    report_step(value, step)


def constraint(function: "Callable[[DictConfig], float]") -> "Callable[[DictConfig], float]":
    """Decorate a function of a job's config: a proposal for which it returns a number above 0 is not run.

    It holds for the searches of a Hydra application whose process calls this before its `hydra.main` function.
    """
    from sweeper.search.constraints import add_constraint  # noqa: PLC0415

    add_constraint(function)
    return function
