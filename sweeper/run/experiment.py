"""Runs one experiment: config → design → data → network → epochs → files → result."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from sweeper.config.schema import DataConf, ExperimentConf
from sweeper.data.splits import Splits, split
from sweeper.design import Design, analyze_within_budget
from sweeper.errors import DataError
from sweeper.network.build import build
from sweeper.records import TRAIN_EVAL_IMAGES, EpochRecord, RunResult
from sweeper.run.checkpoint import Checkpoint, read_checkpoint, save_tensors
from sweeper.run.claiming import claimed
from sweeper.run.folder import RunFolder, new_run_path
from sweeper.run.listener import Listener
from sweeper.run.provenance import data_record, versions, weights_sha256
from sweeper.run.recorder import Recorder
from sweeper.training.device import keep_freed_memory, place, reproducible, resolve
from sweeper.training.evaluate import Score, evaluate, mistakes
from sweeper.training.loop import fit, make_autocast

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class CompletedRun:
    """A run that reached its last epoch or its limit of time."""

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
    resume: bool = False,
    epochs: int | None = None,
) -> CompletedRun:
    """Run one experiment into a new folder, `folder` or by default one below ``outputs/runs``.

    With `resume`, `folder` may hold an earlier attempt at the run. Training goes on from its checkpoint, to the same
    bits as if it had never stopped, or starts anew if it left none. Listeners are told its epochs again.

    Training ends at the end of the first epoch after `training.timeout` seconds, with what it has: the run has a result, and
    a checkpoint to go on from. With `epochs`, it ends after as many instead, however long they take.

    `overrides` and `hydra` are YAML texts that are saved with the config. `read_splits` reads the dataset; a caller may
    pass a function that caches it.

    Raises before the folder is created: `ConfigError`, `BudgetError`, `DeviceError`, `DataError`, `RunFolderError`.
    Raises during training: `TrainingDivergedError`. After this error or a KeyboardInterrupt the completed epochs and a
    checkpoint of the last one are on disk, and `result.json` does not exist.
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

        with claimed(run_folder, resume=resume), logging_to(run_folder.log):
            start = read_checkpoint(run_folder.checkpoint) if resume else None
            if start is not None:
                _check_data(start, splits, run_folder.checkpoint)
                started -= sum(epoch.seconds for epoch in start.epochs)
            run_folder.write_config(conf, overrides=overrides, hydra=hydra)
            _log.info("%s parameters, %s MACs", f"{design.summary.parameters:,}", f"{design.summary.macs:,}")
            for finding in design.findings:
                _log.warning("%s: %s", finding.rule, finding.message)
            limit = _Limit(conf, epochs)
            for listener in listeners:
                listener.on_start(limit.heeded(conf), design, splits, run_folder.path)

            with _ended(listeners):
                network = place(build(design.plan), device)
                recorder = Recorder(run_folder, conf, listeners, splits.sha256)
                score = _train(network, splits, conf, recorder, start=start, limit=limit)
                first_images = splits.train.take(torch.arange(min(TRAIN_EVAL_IMAGES, len(splits.train))))
                train_score = evaluate(network, first_images, autocast=make_autocast(conf))

                state = network.state_dict()
                save_tensors(run_folder.weights, dict(state))
                wrong = mistakes(score, splits.validation, classes=design.plan.classes)
                run_folder.write_mistakes(wrong)
                result = _result(
                    conf=conf,
                    design=design,
                    splits=splits,
                    epochs=tuple(recorder.epochs),
                    train_score=train_score,
                    weights=weights_sha256(state),
                    started=started,
                )
                run_folder.write_result(result)
                if conf.scheduler.spans_training and not result.timed_out:
                    run_folder.checkpoint.unlink(missing_ok=True)
                _log.info("value %.4f, target %.4f", result.value, conf.target)
                for listener in listeners:
                    listener.on_mistakes(wrong)
    return CompletedRun(folder=run_folder.path, conf=conf, epochs=tuple(recorder.epochs), result=result)


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


class _Limit:
    """Whether a training ends before its last epoch."""

    def __init__(self, conf: ExperimentConf, epochs: int | None) -> None:
        """End after `epochs` or, by default, at the end of the first epoch after the config's `training.timeout`."""
        self._all, self._epochs = conf.training.epochs, epochs
        self._timeout = conf.training.timeout if epochs is None else None
        self._started = time.monotonic()

    def heeded(self, conf: ExperimentConf) -> ExperimentConf:
        """Return the config for listeners, without a limit of time that is not heeded."""
        return conf if self._epochs is None else replace(conf, training=replace(conf.training, timeout=None))

    def is_reached(self, epoch: int) -> bool:
        """Whether the training ends after this epoch, which is not the last one."""
        is_over = self._timeout is not None and time.monotonic() - self._started >= self._timeout
        return epoch < self._all and (is_over or epoch == self._epochs)


def _train(
    network: torch.nn.Module,
    splits: Splits,
    conf: ExperimentConf,
    recorder: Recorder,
    *,
    start: Checkpoint | None,
    limit: _Limit,
) -> Score:
    """Train to the last epoch or the limit, from a checkpoint if there is one. Return the score on the validation images."""
    try:
        if start is not None:
            recorder.resume(start)
        stream = fit(
            network,
            splits,
            conf,
            on_batch=recorder.on_batch,
            on_score=recorder.on_score,
            on_state=recorder.on_state,
            resume_from=None if start is None else start.state,
        )
        for record in stream:
            recorder.record(record)
            if limit.is_reached(record.epoch):
                recorder.on_timeout()
                break
    except BaseException as error:
        recorder.on_error(error)
        raise
    return recorder.score or evaluate(network, splits.validation, autocast=make_autocast(conf))


def _check_data(start: Checkpoint, splits: Splits, path: Path) -> None:
    if start.data_sha256 != splits.sha256:
        raise DataError(
            f"a run is resumed with the images it was started with, but those of data.root are others than {path} was "
            "trained on: restore them"
        )


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
        timed_out=len(epochs) < conf.training.epochs,
        seconds=round(time.perf_counter() - started, 3),
    )
