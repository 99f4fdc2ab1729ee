"""Runs one experiment: config → design → data → network → epochs → files → result."""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from sweeper.config.schema import DataConf, ExperimentConf
from sweeper.data.splits import Splits, split
from sweeper.design import Design, analyze_within_budget
from sweeper.errors import TrainingDivergedError
from sweeper.network.build import build
from sweeper.records import TRAIN_EVAL_IMAGES, BatchProgress, EpochRecord, RunResult
from sweeper.run.folder import RunFolder, atomic_write, new_run_path
from sweeper.run.listener import Listener
from sweeper.run.provenance import data_record, versions, weights_sha256
from sweeper.training.device import keep_freed_memory, place, reproducible, resolve
from sweeper.training.evaluate import Score, evaluate, mistakes
from sweeper.training.loop import fit, make_autocast

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class CompletedRun:
    """A run that reached its last epoch."""

    folder: Path
    """The run's folder; `RunFolder` names the files in it."""
    conf: ExperimentConf
    """The resolved config."""
    epochs: tuple[EpochRecord, ...]
    """All epochs, in order."""
    result: RunResult
    """The content of `result.json`."""

    @property
    def value(self) -> float:
        """Validation accuracy of the last epoch, never of the best one; a fraction."""
        return self.epochs[-1].val_accuracy

    @property
    def target_met(self) -> bool:
        """Whether the value reached the target."""
        return self.value >= self.conf.target


def run(
    conf: ExperimentConf,
    *,
    folder: Path | None = None,
    listeners: Iterable[Listener] = (),
    overrides: str = "[]\n",
    hydra: str | None = None,
    read_splits: Callable[[DataConf], Splits] | None = None,
) -> CompletedRun:
    """Run one experiment into a new folder, `folder` or by default one below ``outputs/runs``.

    `overrides` and `hydra` are YAML texts that are saved with the config. `read_splits` reads the dataset; a caller may
    pass a function that caches it.

    Raises before the folder is created: `ConfigError`, `BudgetError`, `DeviceError`, `DataError`, `RunFolderError`.
    Raises during training: `TrainingDivergedError`. After this error or a KeyboardInterrupt the completed epochs are on
    disk and `result.json` does not exist.
    """
    started = time.perf_counter()
    design = analyze_within_budget(conf)
    listeners = (*listeners, *_configured_listeners(conf))
    conf = resolved(conf)
    run_folder = RunFolder(folder if folder is not None else new_run_path())
    device = torch.device(conf.device)
    keep_freed_memory()
    with reproducible(conf):
        splits = read_splits(conf.data) if read_splits else split(conf.data, folder=run_folder.path)
        conf.training.check_batch_size(len(splits.train))
        splits = replace(splits, train=splits.train.to(device), validation=splits.validation.to(device))

        run_folder.claim()
        with logging_to(run_folder.log):
            run_folder.write_config(conf, overrides=overrides, hydra=hydra)
            _log.info("%s parameters, %s MACs", f"{design.summary.parameters:,}", f"{design.summary.macs:,}")
            for finding in design.findings:
                _log.warning("%s: %s", finding.rule, finding.message)
            for listener in listeners:
                listener.on_start(conf, design, splits, run_folder.path)

            with _ended(listeners):
                network = place(build(design.plan), device)
                epochs, score = _train(network, splits, conf, run_folder, listeners)
                first_images = splits.train.take(torch.arange(min(TRAIN_EVAL_IMAGES, len(splits.train))))
                train_score = evaluate(network, first_images, autocast=make_autocast(conf))

                state = network.state_dict()
                with atomic_write(run_folder.weights) as temporary:
                    torch.save(dict(state), temporary)
                wrong = mistakes(score, splits.validation, classes=design.plan.classes)
                run_folder.write_mistakes(wrong)
                result = _result(
                    conf=conf,
                    design=design,
                    splits=splits,
                    epochs=epochs,
                    train_score=train_score,
                    weights=weights_sha256(state),
                    started=started,
                )
                run_folder.write_result(result)
                _log.info("value %.4f, target %.4f", result.value, conf.target)
                for listener in listeners:
                    listener.on_mistakes(wrong)
    return CompletedRun(folder=run_folder.path, conf=conf, epochs=epochs, result=result)


def resolved(conf: ExperimentConf) -> ExperimentConf:
    """Return the config that is trained and saved: `resolve(conf)`, with an absolute `data.root`. Raises `DeviceError`."""
    return replace(resolve(conf), data=replace(conf.data, root=str(Path(conf.data.root).expanduser().absolute())))


def _configured_listeners(conf: ExperimentConf) -> list[Listener]:
    """Make the listeners that `logging` in the config asks for."""
    if conf.logging.name == "tensorboard":
        from sweeper.run.tensorboard import TensorBoard  # noqa: PLC0415 - an optional package

        return [TensorBoard()]
    return []


@contextmanager
def _ended(listeners: Iterable[Listener]) -> Iterator[None]:
    """After the block, tell the listeners that the run has ended."""
    try:
        yield
    finally:
        for listener in listeners:
            listener.on_end()


@contextmanager
def logging_to(path: Path) -> Iterator[None]:
    """Append the messages logged within the block, INFO and above, to a file."""
    root = logging.getLogger()
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    handler.setLevel(logging.INFO)
    level = root.level
    root.addHandler(handler)
    root.setLevel(min(level, logging.INFO))
    try:
        yield
    finally:
        root.setLevel(level)
        root.removeHandler(handler)
        handler.close()


def _train(
    network: torch.nn.Module,
    splits: Splits,
    conf: ExperimentConf,
    run_folder: RunFolder,
    listeners: tuple[Listener, ...],
) -> tuple[tuple[EpochRecord, ...], Score]:
    """Train to the last epoch. Return all epochs, and the last epoch's score on the validation images."""
    last: deque[Score] = deque(maxlen=1)

    def on_batch(progress: BatchProgress) -> None:
        for listener in listeners:
            listener.on_batch(progress)

    epochs: list[EpochRecord] = []
    try:
        stream = fit(network, splits, conf, on_batch=on_batch if listeners else None, on_score=last.append)
        for record in stream:
            epochs.append(record)
            run_folder.append_epoch(record)
            _log.info("%s", record)
            for listener in listeners:
                listener.on_epoch(record)
    except BaseException as error:
        reason = str(error) or type(error).__name__
        _log.error("ended after %d of %d epochs: %s", len(epochs), conf.training.epochs, reason)
        if isinstance(error, TrainingDivergedError):
            raise TrainingDivergedError(f"{error}; the epochs before it are in {run_folder.metrics}") from error
        raise
    return tuple(epochs), last[0]


def _result(
    *,
    conf: ExperimentConf,
    design: Design,
    splits: Splits,
    epochs: tuple[EpochRecord, ...],
    train_score: Score,
    weights: str,
    started: float,
) -> RunResult:
    """Assemble the result; `started` is the time.perf_counter value at the start of the run."""
    assert isinstance(conf.threads, int)
    last = epochs[-1]
    best = max(epochs, key=lambda epoch: epoch.val_accuracy)
    return RunResult(
        value=last.val_accuracy,
        target=conf.target,
        target_met=last.val_accuracy >= conf.target,
        val_accuracy=last.val_accuracy,
        val_loss=last.val_loss,
        best_val_accuracy=best.val_accuracy,
        best_epoch=best.epoch,
        train_accuracy=last.train_accuracy,
        train_accuracy_eval=train_score.accuracy,
        train_loss_eval=train_score.loss,
        parameters=design.summary.parameters,
        macs=design.summary.macs,
        epochs=len(epochs),
        seed=conf.seed,
        weights_sha256=weights,
        versions=versions(),
        device=conf.device,
        precision=conf.precision,
        threads=conf.threads,
        data=data_record(conf.data, splits),
        seconds=round(time.perf_counter() - started, 3),
    )
