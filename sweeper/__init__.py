"""Architecture search for small CNNs under a parameter budget: Hydra composes, torch trains, Optuna searches.

From Python: ``sweeper.compose(["model=gap"])`` returns a typed config, ``sweeper.run(conf)`` trains it.
"""

from contextlib import nullcontext
from typing import TYPE_CHECKING

# A package binds its name in its parent when it is first imported. Import run/ now, so that the function `run` replaces
# it; imported later, it would replace the function.
import sweeper.run as _run_package  # noqa: F401
from sweeper.errors import TrainingDivergedError
from sweeper.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sweeper.config.schema import ExperimentConf
    from sweeper.run.experiment import CompletedRun

__all__ = ["__version__", "compose", "run"]


# Both functions import lazily: torch alone takes two seconds to import, and `import sweeper` should be fast.
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
    written = run_report.write_report(folder)
    if progress is not None:
        progress.show_result(completed, next_command=written.next)
    return completed
