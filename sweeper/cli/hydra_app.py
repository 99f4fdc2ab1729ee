"""Runs a command line without a command: Hydra runs one experiment or, with ``-m``, a search."""

import logging
import math
import os
import sys
from collections.abc import Sequence
from typing import Final

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.types import RunMode
from omegaconf import DictConfig

from sweeper.cli.hydra_private import ordered, typed_overrides
from sweeper.cli.job import Train, run_job
from sweeper.cli.rerun import whole_command
from sweeper.config.file_rules import STORAGE
from sweeper.config.hydra_errors import HYDRA_ERRORS, explain, is_of_hydra
from sweeper.config.origin import CONFIG_NAME, Origin, conf_dir
from sweeper.config.search_path import StudyConfigs
from sweeper.disk import disk_error, is_full
from sweeper.errors import RunFolderError, SweeperError
from sweeper.plugin import FULL_ERROR, StudySweeper

PROGRAM: Final = "sweeper"


def register_plugins() -> None:
    """Make Hydra know ``hydra/sweeper=study``; entry points do it where the package is installed."""
    for plugin in (StudySweeper, StudyConfigs):
        Plugins.instance().register(plugin)


def run_hydra(train: Train | None = None) -> None:
    """Run Hydra on `sys.argv`, with `train` for each config that is accepted.

    Hydra's errors before the first job starts are raised as `SweeperError`.
    """
    # Without this variable Hydra prints an error and exits instead of raising it.
    os.environ[FULL_ERROR] = "1"
    if sys.argv[0].endswith("__main__.py"):
        sys.argv[0] = PROGRAM  # the program's name in Hydra's usage and completion
    # At exit, torch logs statistics of its caches at level INFO.
    logging.getLogger("torch").setLevel(logging.WARNING)
    started = False
    failure: SweeperError | None = None

    def task(cfg: DictConfig) -> object:
        nonlocal started, failure
        started = True
        try:
            return run_job(cfg, train)
        except Exception as error:
            expected = error if isinstance(error, SweeperError) else disk_error(error)
            if expected is None:
                raise
            # A Hydra sweeper must see its job fail. A single run's error bypasses Hydra, which would print a line too.
            if HydraConfig.get().mode is not RunMode.RUN:
                raise expected from error
            failure = expected
            return math.nan

    _check_storage(sys.argv[1:])
    sys.argv[1:] = whole_command(ordered(sys.argv[1:]))
    register_plugins()
    # The empty whitelist keeps any config, even a stranger's, from naming code to run.
    application = hydra.main(config_path=str(conf_dir()), config_name=CONFIG_NAME, execution_whitelist=[])(task)
    try:
        application()
    except Exception as error:
        if started or isinstance(error, BrokenPipeError):
            raise
        raise _explained(error) from error
    if failure is not None:
        raise failure


def _check_storage(arguments: Sequence[str]) -> None:
    """Raise `StudyError` for a typed password, before any error shows the command line, or any sweeper saves it."""
    for argument in arguments:
        key, _, url = argument.lstrip("+").partition("=")
        if key == STORAGE:
            from sweeper.study.storage_url import check_typed  # noqa: PLC0415 - sqlalchemy

            check_typed(url.strip("'\""), f"{STORAGE}=")


def _explained(error: Exception) -> Exception:
    """Return an error of Hydra, or of its files, before the first job as a `SweeperError`; another one as it is."""
    if is_full(error):
        return disk_error(error) or error
    if isinstance(error, OSError) and not isinstance(error, HYDRA_ERRORS):
        return RunFolderError(
            f"{error.filename} cannot be read or created ({error.strerror or error}): name another with hydra.run.dir "
            "or hydra.sweep.dir"
        )
    if not is_of_hydra(error):
        return error
    return explain(error, typed_overrides(sys.argv[1:]), Origin.typed(sys.argv[1:]))
