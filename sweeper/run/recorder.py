"""Records a run as it trains: each epoch in the metrics and the log, its state in checkpoints, and for its listeners."""

import logging
from collections.abc import Sequence

from sweeper.config.schema import ExperimentConf, TrainingConf
from sweeper.errors import TrainingDivergedError
from sweeper.records import BatchProgress, EpochRecord
from sweeper.run.checkpoint import Checkpoint
from sweeper.run.folder import RunFolder
from sweeper.run.listener import Listener
from sweeper.training.evaluate import Score
from sweeper.training.state import TrainingState

_log = logging.getLogger(__name__)


def timeout_reason(training: TrainingConf, epochs: int) -> str:
    """Say that a training ended after so many epochs because of its limit of time, or as the one that it repeats."""
    why = "as asked" if training.timeout is None else f"training.timeout={training.timeout:g} s"
    return f"ended after {epochs} of {training.epochs} epochs: {why}"


class Recorder:
    """Records one run. The methods `on_…` are the callbacks of `fit`."""

    def __init__(self, files: RunFolder, conf: ExperimentConf, listeners: Sequence[Listener], data_sha256: str) -> None:
        """Record the run of a resolved config, on images with this checksum; nothing is written yet."""
        self.epochs: list[EpochRecord] = []
        self.score: Score | None = None
        """The last epoch's score on the validation images."""
        self._files, self._training, self._scheduler = files, conf.training, conf.scheduler
        self._listeners, self._data_sha256 = listeners, data_sha256
        self._state: TrainingState | None = None
        self._checkpointed = 0

    def on_batch(self, progress: BatchProgress) -> None:
        """Tell the listeners."""
        for listener in self._listeners:
            listener.on_batch(progress)

    def on_score(self, score: Score) -> None:
        """Remember the score."""
        self.score = score

    def on_state(self, state: TrainingState) -> None:
        """Remember the state, for a checkpoint."""
        self._state = state

    def resume(self, checkpoint: Checkpoint) -> None:
        """Record the epochs of the checkpoint again, which stays as it is."""
        for record in checkpoint.epochs:
            self._append(record)
            self._tell(record)
        self._checkpointed = len(self.epochs)
        _log.info("resumed after epoch %d", self._checkpointed)

    def record(self, record: EpochRecord) -> None:
        """Record an epoch, write a checkpoint if it is time for one, then tell the listeners."""
        self._append(record)
        is_last = record.epoch == self._training.epochs
        every = self._training.checkpoint_every
        if every and record.epoch % every == 0 and not (is_last and self._scheduler.spans_training):
            self._write_checkpoint()
        self._tell(record)

    def on_timeout(self) -> None:
        """Log that the run ends early, and see to a checkpoint of the last epoch."""
        _log.info("%s", timeout_reason(self._training, len(self.epochs)))
        if self._checkpointed < len(self.epochs):
            self._write_checkpoint()

    def on_error(self, error: BaseException) -> None:
        """Log why the run ends early; after Ctrl-C, write a checkpoint of the last epoch.

        Raises `TrainingDivergedError` in place of one, with the file of the epochs before it.
        """
        reason = str(error) or type(error).__name__
        _log.error("ended after %d of %d epochs: %s", len(self.epochs), self._training.epochs, reason)
        if isinstance(error, KeyboardInterrupt) and self._checkpointed < len(self.epochs):
            self._write_checkpoint()
        if isinstance(error, TrainingDivergedError):
            raise TrainingDivergedError(f"{error}; the epochs before it are in {self._files.metrics}") from error

    def _append(self, record: EpochRecord) -> None:
        self.epochs.append(record)
        self._files.append_epoch(record)
        _log.info("%s", record)

    def _tell(self, record: EpochRecord) -> None:
        for listener in self._listeners:
            listener.on_epoch(record)

    def _write_checkpoint(self) -> None:
        assert self._state is not None
        checkpoint = Checkpoint(state=self._state, epochs=tuple(self.epochs), data_sha256=self._data_sha256)
        checkpoint.write(self._files.checkpoint)
        self._checkpointed = len(self.epochs)
