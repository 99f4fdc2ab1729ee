"""Makes what submits jobs from the settings of hydra-submitit-launcher, whose keys all keep their meaning."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from omegaconf import DictConfig

from sweeper.errors import StudyError

CLUSTERS: Final = {"SlurmLauncher": "slurm", "LocalLauncher": "local"}
"""submitit's name of the engine, by the class of hydra-submitit-launcher that a config names."""


def cluster_of(config: DictConfig) -> str | None:
    """Return submitit's name of the engine of the sweep's launcher; None for a launcher that is not submitit's."""
    return CLUSTERS.get(str(config.hydra.launcher.get("_target_")).rpartition(".")[2])


def make_submitter(cluster: str, settings: Mapping[str, Any]) -> Any:
    """Return the `submitit.AutoExecutor` that the launcher of hydra-submitit-launcher would make of these settings.

    Raises `StudyError` for settings that submitit does not accept, or without Slurm's commands.
    """
    import submitit  # noqa: PLC0415 - an optional package
    from hydra_plugins.hydra_submitit_launcher.config import BaseQueueConf  # noqa: PLC0415 - likewise

    shared = set(BaseQueueConf.__dataclass_fields__)
    own = {"max_num_timeout", "python"}
    given = {name: value for name, value in settings.items() if name not in {"_target_", "submitit_folder"}}
    try:
        submitter = submitit.AutoExecutor(
            folder=settings["submitit_folder"],
            cluster=cluster,
            **{f"{cluster}_{name}": given[name] for name in own & set(given)},
        )
        submitter.update_parameters(
            **{name if name in shared else f"{cluster}_{name}": given[name] for name in set(given) - own}
        )
    except RuntimeError as error:
        raise StudyError(
            "hydra/launcher=submitit_slurm needs the commands of Slurm, but srun is not found: start the search where "
            "sbatch works, or choose hydra/launcher=submitit_local"
        ) from error
    except (AssertionError, NameError, TypeError, ValueError) as error:
        first_line = str(error).partition("\n")[0]
        raise StudyError(f"hydra.launcher must hold what submitit accepts, but it says: {first_line}") from error
    return submitter


@contextmanager
def outside_of_jobs() -> Iterator[None]:
    """Within the block, variables of a Slurm job in which this process itself may run are not passed on to its jobs."""
    from submitit.helpers import clean_env  # noqa: PLC0415 - an optional package

    if "SLURM_JOB_ID" not in os.environ:
        yield
        return
    kept = {name: os.environ[name] for name in ("SLURM_CONF", "SLURM_CLUSTERS") if name in os.environ}
    with clean_env():
        os.environ.update(kept)
        yield
