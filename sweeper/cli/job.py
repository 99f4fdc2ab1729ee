"""Runs one Hydra job, alone or as a trial of a study: config → run → run report → value."""

import sys
from collections.abc import Callable
from contextlib import nullcontext, suppress
from pathlib import Path

from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from sweeper.cli.shown_run import show_run
from sweeper.config.idle import idle_overrides, idle_settings
from sweeper.config.loading import load
from sweeper.config.origin import Origin
from sweeper.config.schema import ExperimentConf
from sweeper.design import analyze_within_budget
from sweeper.disk import GO_ON, disk_error
from sweeper.errors import ConfigError, SweeperError, TrainingDivergedError
from sweeper.run.folder import RunFolder
from sweeper.shell import path_word, sweeper_command
from sweeper.startup import loading
from sweeper.study.trial import is_trial
from sweeper.study.waiting import waiting
from sweeper.terminal.console import display_path, make_console

Train = Callable[[Path, ExperimentConf, HydraConf], object]
"""What is done with an accepted config: its folder, the config, Hydra's settings; returns the job's value."""


def run_job(cfg: DictConfig, train: Train | None = None) -> object:
    """Run one job in the folder that Hydra created; return the last epoch's validation accuracy, a fraction.

    `train` is what is done once the config is accepted; by default a run, or a trial of a study.

    Raises `SweeperError` for every expected failure.
    """
    settings = HydraConfig.get()
    folder = Path(settings.runtime.output_dir)
    try:
        _refuse_search_options(settings)
        conf = load(cfg)
        analyze_within_budget(conf)  # a wrong config fails here, before the two seconds of importing torch
        for note in (
            idle_overrides(idle_settings(conf), settings.overrides.task) if settings.mode is RunMode.RUN else ()
        ):
            make_console().print(note, soft_wrap=True)
        return (train or _train)(folder, conf, settings)
    finally:
        _remove_if_empty(folder)


def _train(folder: Path, conf: ExperimentConf, settings: HydraConf) -> object:
    if is_trial(settings):
        return _run_trial(folder, conf, settings)
    return _run_alone(display_path(folder), conf, settings)


def _refuse_search_options(settings: HydraConf) -> None:
    """Raise `ConfigError` for search options without -m: Hydra would ignore them and train the network once."""
    if settings.mode is not RunMode.RUN:
        return
    preset = settings.runtime.choices.get("search")
    overrides = [
        line for line in settings.overrides.hydra if line.lstrip("+").startswith(("hydra.sweeper.", "hydra/sweeper"))
    ]
    given = [f"search={preset}"] if preset else overrides
    if given:
        origin = Origin.typed(sys.argv[1:])
        typed = [
            line for line in (*settings.overrides.task, *settings.overrides.hydra) if not line.startswith("hydra.mode=")
        ]
        command = sweeper_command("-m", *origin.options, *typed)
        raise ConfigError(f"{given[0]} only applies to a search, but -m is missing: {command}")


def _run_trial(folder: Path, conf: ExperimentConf, settings: HydraConf) -> object:
    # Only a worker's first trial imports torch. In later ones `loading` would keep earlier trials' garbage forever.
    with loading() if "torch" not in sys.modules else nullcontext():
        from sweeper.report import run_report  # noqa: PLC0415 - matplotlib
        from sweeper.study.job import run_trial  # noqa: PLC0415 - torch, optuna

    try:
        value = run_trial(conf, folder, settings)
    except TrainingDivergedError:
        run_report.write_partial_report(folder)
        raise
    _, warning = run_report.try_to_write_report(folder)
    if warning:
        waiting().on_begin(f"trial {settings.job.num}: {warning}")
    return value


def _run_alone(folder: Path, conf: ExperimentConf, settings: HydraConf) -> object:
    with loading():
        from sweeper.run.experiment import run  # noqa: PLC0415 - torch takes two seconds

    try:
        completed = show_run(
            lambda progress: run(
                conf,
                folder=folder,
                listeners=[progress],
                overrides=OmegaConf.to_yaml(OmegaConf.create(list(settings.overrides.task))),
                hydra=OmegaConf.to_yaml(OmegaConf.create({"hydra": settings})),
            ),
            folder,
        )
    except OSError as error:
        failure = disk_error(error, go_on=_going_on(folder))
        if failure is None:
            raise
        raise failure from error
    return completed.value


def _going_on(folder: Path) -> str:
    """Return what goes on with a run that was stopped: a command, or if its config was not written yet, the same one."""
    try:
        RunFolder(folder).read_config()
    except SweeperError:
        return GO_ON
    return f"run {sweeper_command('resume', path_word(folder))}"


def _remove_if_empty(folder: Path) -> None:
    """Remove the folder that Hydra created if the job failed before it wrote a file, and those above it that are empty."""
    outputs = Path.cwd() / "outputs"
    with suppress(OSError):
        folder.rmdir()
        for parent in folder.parents:
            if outputs not in (parent, *parent.parents):
                break
            parent.rmdir()
