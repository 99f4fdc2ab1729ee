"""Search small convolutional networks under a parameter budget: Hydra composes, torch trains, Optuna searches.

From Python: ``sweeper.compose(["model=gap"])`` gives a typed config, ``sweeper.run(conf)`` its result.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from sweeper.experiment import Result
    from sweeper.schema import ExperimentConf

__version__ = "0.1.0"
__all__ = ["compose", "run"]


# Both import what they need when called: torch alone takes two seconds, which no import should.
def compose(overrides: "Sequence[str]" = ()) -> "ExperimentConf":
    """Compose the config as the command line would with these overrides.

    Leaves Hydra's global state as it was. Raises `sweeper.errors.ConfigError`.
    """
    from sweeper.composition import compose as compose_config  # noqa: PLC0415

    return compose_config(overrides)


def run(conf: "ExperimentConf", *, folder: "Path | None" = None, show: bool = True) -> "Result":
    """Run one experiment, by default into a new folder below ``outputs/runs``; `show` prints its progress.

    Raises what `sweeper.experiment.run` raises, all of it a `sweeper.errors.SweeperError`.
    """
    from sweeper.experiment import run as run_experiment  # noqa: PLC0415
    from sweeper.report import write_up  # noqa: PLC0415
    from sweeper.terminal import Terminal  # noqa: PLC0415

    if not show:
        result = run_experiment(conf, folder=folder)
        write_up.write(result.folder)
        return result
    with Terminal() as terminal:
        result = run_experiment(conf, folder=folder, listeners=[terminal])
    terminal.show_result(result, next_command=write_up.write(result.folder).next)
    return result
