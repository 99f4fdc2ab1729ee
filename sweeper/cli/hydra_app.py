"""Everything that is no verb: handed to Hydra, which runs one job or, with ``-m``, a study."""

import logging
import math
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.types import RunMode
from omegaconf import DictConfig

from sweeper.cli.job import run_job
from sweeper.config.composition import CONFIG_NAME, HYDRA_ERRORS, conf_dir, explain
from sweeper.errors import RunFolderError, SweeperError
from sweeper.study.plugin import StudySweeper
from sweeper.terminal.console import display_path, make_console

PROGRAM: Final = "sweeper"


def run_hydra() -> None:
    """Hand over to Hydra. What it refuses before a task starts becomes a `ConfigError`."""
    # Hydra prints an error and exits where we want the exception: this variable is its way to say so.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    if sys.argv[0].endswith("__main__.py"):
        sys.argv[0] = PROGRAM  # what Hydra calls us in its usage and completion
    # Torch tells Hydra's log of its caches as the process ends: nobody asked.
    logging.getLogger("torch").setLevel(logging.WARNING)
    started = False
    failure: SweeperError | None = None

    def task(cfg: DictConfig) -> object:
        nonlocal started, failure
        started = True
        try:
            return run_job(cfg)
        except SweeperError as error:
            # A sweeper has to see a job fail. A single run's error goes round Hydra, which would add a line to it.
            if HydraConfig.get().mode is not RunMode.RUN:
                raise
            failure = error
            return math.nan

    Plugins.instance().register(StudySweeper)
    # An empty whitelist: no config, ours or a stranger's, names code to be run.
    application = hydra.main(config_path=str(conf_dir()), config_name=CONFIG_NAME, execution_whitelist=[])(task)
    try:
        with _page_of_the_study():
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
            f"{error.filename} cannot be read or made ({reason}): name another with hydra.run.dir or hydra.sweep.dir"
        ) from error
    if failure is not None:
        raise failure


@contextmanager
def _page_of_the_study() -> Iterator[None]:
    """Write the page of the study that is run meanwhile, if one is, to its end or not."""
    # What a page is drawn with takes a second or two to load: meanwhile trials train, and the end waits for nothing.
    loading = threading.Thread(target=_load_page)
    StudySweeper.last_run, StudySweeper.on_open = None, loading.start
    try:
        yield
    finally:
        opened = StudySweeper.last_run.opened if StudySweeper.last_run is not None else None
        if opened is not None:
            loading.join()
            from sweeper.report.study_page import write_study_page  # noqa: PLC0415 - plotly

            page = write_study_page(opened.study, folder=opened.folder, url=opened.url)
            make_console().print(f"report: {display_path(page)}", soft_wrap=True)


def _load_page() -> None:
    from sweeper.report import study_page  # noqa: PLC0415 - plotly

    study_page.load()
