"""Makes what submits jobs from the settings of hydra-submitit-launcher, whose keys all keep their meaning."""

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from omegaconf import DictConfig, OmegaConf

from sweeper.errors import StudyError

CLUSTERS: Final = {"SlurmLauncher": "slurm", "LocalLauncher": "local"}
"""submitit's name of the engine, by the class of hydra-submitit-launcher that a config names."""


def cluster_of(config: DictConfig) -> str | None:
    """Return submitit's name of the engine of the sweep's launcher; None for a launcher that is not submitit's."""
    return CLUSTERS.get(str(config.hydra.launcher.get("_target_")).rpartition(".")[2])


def settings_of(config: DictConfig) -> dict[str, Any]:
    """Return the settings of the sweep's launcher, but for the folder of its jobs, which depends on the study's."""
    launcher = config.hydra.launcher
    names = [str(name) for name in launcher if name not in {"_target_", "submitit_folder"}]
    return {
        name: OmegaConf.to_container(launcher[name], resolve=True)
        if OmegaConf.is_config(launcher[name])
        else launcher[name]
        for name in names
    }


def make_submitter(cluster: str, settings: Mapping[str, Any], *, folder: str) -> Any:
    """Return the `submitit.AutoExecutor` that the launcher of hydra-submitit-launcher would make of these settings.

    Raises `StudyError` for settings that submitit does not accept, or without Slurm's commands.
    """
    import submitit  # noqa: PLC0415 - an optional package
    from hydra_plugins.hydra_submitit_launcher.config import BaseQueueConf  # noqa: PLC0415 - likewise

    shared = set(BaseQueueConf.__dataclass_fields__)
    own = {"max_num_timeout", "python"}
    try:
        submitter = submitit.AutoExecutor(
            folder=folder,
            cluster=cluster,
            **{f"{cluster}_{name}": settings[name] for name in own & set(settings)},
        )
        submitter.update_parameters(
            **{name if name in shared else f"{cluster}_{name}": settings[name] for name in set(settings) - own}
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


def check_settings(cluster: str, settings: Mapping[str, Any]) -> None:
    """Raise `StudyError` if no job can be submitted with these settings of the launcher, as far as submitit knows."""
    # No time at all is no limit in Slurm; submitit itself kills its processes at once.
    for name in ("array_parallelism",) if cluster == "slurm" else ("timeout_min",):
        if settings[name] < 1:
            raise StudyError(f"hydra.launcher.{name} must be at least 1, but got {settings[name]}")
    with tempfile.TemporaryDirectory() as folder:
        make_submitter(cluster, settings, folder=folder)


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


def attempt_file(paths: Any) -> Path:
    """Return the file in which a job says that its trial begins; `paths` are submitit's of the job."""
    result: Path = paths.result_pickle
    return result.with_suffix(".attempt")


def read_attempt(paths: Any) -> str | None:
    """Return which start of a job has begun its trial, Slurm's count of restarts; None if it has not begun."""
    try:
        return attempt_file(paths).read_text() or None
    except OSError:
        return None
