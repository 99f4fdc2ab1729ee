"""Resumes a run: what of its config may change, and whether there is anything left to train."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from sweeper.config.schema import ExperimentConf
from sweeper.errors import ConfigError, RunFolderError
from sweeper.run.checkpoint import read_checkpoint
from sweeper.run.experiment import CompletedRun, run
from sweeper.run.folder import RunFolder
from sweeper.run.listener import Listener
from sweeper.untrusted import read_text


def resume(folder: Path, *, epochs: int | None = None, listeners: Iterable[Listener] = ()) -> CompletedRun:
    """Go on with the run in a folder from its checkpoint, or from the start if it left none, to `epochs` in all.

    A run that `training.timeout` ended has as much time again.

    The results are those of a run that never stopped, to the bit, on the same device with the same versions.

    Raises `RunFolderError` if the run is complete, or is another process's; `ConfigError` if its schedule allows no
    other number of epochs; and the errors of `RunFolder.read_config` and `sweeper.run.experiment.run`.
    """
    files = RunFolder(folder)
    conf = files.read_config()
    if conf.data.validation == "none":
        raise RunFolderError(f"{folder} is a training of confirm, which its own command resumes: type that again")
    asked = conf if epochs is None else replace(conf, training=replace(conf.training, epochs=epochs))
    _check(files, conf, asked)
    settings = read_text(files.hydra) if files.hydra.exists() else None
    return run(
        asked,
        folder=folder,
        listeners=listeners,
        overrides=read_text(files.overrides) if files.overrides.exists() else "[]\n",
        hydra=settings,
        resume=True,
    )


def _check(files: RunFolder, conf: ExperimentConf, asked: ExperimentConf) -> None:
    before, now = conf.training.epochs, asked.training.epochs
    result, checkpoint = files.read_result(), read_checkpoint(files.checkpoint)
    if now != before and conf.scheduler.spans_training:
        raise ConfigError(
            f"training.epochs={now} needs a schedule that does not end, constant or step, but scheduler="
            f"{conf.scheduler.name} was planned for {before} epochs: train it anew"
        )
    if checkpoint is not None and now < len(checkpoint.epochs):
        raise ConfigError(
            f"training.epochs must be at least the {len(checkpoint.epochs)} epochs that {files.path} has, but got {now}"
        )
    if result is None:
        return
    if now == before and not result.timed_out:
        more = "" if conf.scheduler.spans_training else f", or give more, as training.epochs={2 * now}"
        raise RunFolderError(f"{files.path} must have epochs left, but all {now} are done: nothing to resume{more}")
    if checkpoint is None:
        raise RunFolderError(
            f"{files.path} must hold checkpoint.pt to be trained longer, but does not: train it anew with training.epochs={now}"
        )
