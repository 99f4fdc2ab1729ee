"""Runs a command line without a command: Hydra runs one experiment or, with ``-m``, a search."""

import logging
import math
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.types import RunMode
from omegaconf import DictConfig

from sweeper.cli.job import run_job
from sweeper.config.composition import CONFIG_NAME, HYDRA_ERRORS, conf_dir, explain
from sweeper.errors import RunFolderError, SweeperError
from sweeper.study.plugin import FULL_ERROR, StudySweeper
from sweeper.terminal.console import display_path, make_console

if TYPE_CHECKING:
    from sweeper.study.warm_start import OtherStudy

PROGRAM: Final = "sweeper"


def run_hydra() -> None:
    """Run Hydra on `sys.argv`. Hydra's errors before the first job starts are raised as `SweeperError`."""
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
            return run_job(cfg)
        except SweeperError as error:
            # A Hydra sweeper must see its job fail. A single run's error bypasses Hydra, which would print a line too.
            if HydraConfig.get().mode is not RunMode.RUN:
                raise
            failure = error
            return math.nan

    Plugins.instance().register(StudySweeper)
    # The empty whitelist keeps any config, even a stranger's, from naming code to run.
    application = hydra.main(config_path=str(conf_dir()), config_name=CONFIG_NAME, execution_whitelist=[])(task)
    try:
        with _write_study_page():
            application()
    except HYDRA_ERRORS as error:
        if started:
            raise
        raise explain(error) from error
    except OSError as error:
        if started or isinstance(error, BrokenPipeError):
            raise
        reason = error.strerror or str(error)
        raise RunFolderError(
            f"{error.filename} cannot be read or created ({reason}): name another with hydra.run.dir or hydra.sweep.dir"
        ) from error
    if failure is not None:
        raise failure


@contextmanager
def _write_study_page() -> Iterator[None]:
    """If the block runs a search, write the study's page afterwards, also after an interruption or a failure."""
    # Importing plotly takes a second or two: a thread does it while the first trials train, unless they do so in this
    # process and import torch: scipy, imported here, fails if it finds torch half imported.
    page_import = threading.Thread(target=_load_page)
    StudySweeper.last_sweep, StudySweeper.on_open = None, page_import.start
    StudySweeper.read_other = staticmethod(_read_other)
    try:
        yield
    finally:
        StudySweeper.on_open = None
        opened = StudySweeper.last_sweep.opened if StudySweeper.last_sweep is not None else None
        if opened is not None:
            if page_import.is_alive():
                page_import.join()
            from sweeper.report.study_page import write_study_page  # noqa: PLC0415 - plotly

            page = write_study_page(opened.study, folder=opened.folder.path, url=opened.url, lost=opened.lost())
            make_console().print(f"report: {display_path(page)}", soft_wrap=True)


def _read_other(name: str) -> "OtherStudy":
    from sweeper.reading.others import read_other  # noqa: PLC0415 - optuna

    return read_other(name)


def _load_page() -> None:
    from sweeper.report import study_page  # noqa: PLC0415 - plotly

    study_page.load()
