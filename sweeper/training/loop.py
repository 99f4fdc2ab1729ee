"""The training loop as a generator of one `EpochRecord` per epoch. Files, terminal and search are its caller's."""

import math
import time
from collections.abc import Callable, Iterator
from typing import Final

import torch
import torch.nn.functional as F  # noqa: N812 - its name everywhere
from torch import Tensor, nn

from sweeper.config.schema import ExperimentConf
from sweeper.data.augment import augment
from sweeper.data.images import LabelledImages
from sweeper.data.splits import Splits
from sweeper.errors import TrainingDivergedError
from sweeper.records import BatchProgress, EpochRecord
from sweeper.training.averaging import STATISTICS_IMAGES
from sweeper.training.evaluate import Score, evaluate
from sweeper.training.state import Training, TrainingState

PROGRESS_EVERY: Final = 20
"""Steps between two progress reports on a CPU: rare enough to cost nothing, enough for a smooth progress bar."""
DIVERGED_FACTOR: Final = 10
"""An epoch diverges if its mean training loss exceeds this multiple of ln(classes), the loss of a uniform guess."""


def fit(
    network: nn.Module,
    splits: Splits,
    conf: ExperimentConf,
    *,
    on_batch: Callable[[BatchProgress], None] | None = None,
    on_score: Callable[[Score], None] | None = None,
    resume_from: TrainingState | None = None,
    on_state: Callable[[TrainingState], None] | None = None,
) -> Iterator[EpochRecord]:
    """Train the network in place; yield one `EpochRecord` at the end of each epoch.

    `conf` must be resolved; the network and the splits must be on its device. `on_batch` receives the running means at
    the end of each epoch and, on a CPU, every `PROGRESS_EVERY` steps. `on_score` receives each validation score, and
    `on_state` the state after each epoch. From such a state, `resume_from`, training goes on to the same bits as if it had
    never stopped.

    The order of images and their augmentation come from two generators seeded with `conf.seed`; dropout draws from
    torch's global generator. A last batch of a single image is skipped: batch normalization cannot use it.

    With `training.ema`, the network holds the averaged weights whenever an epoch has been yielded, and at the end; they
    are what is validated, with statistics of the epoch's first `STATISTICS_IMAGES` images.

    Raises `RunFolderError` if `resume_from` is another training's, and `TrainingDivergedError` if a training or validation loss is not finite, or if an epoch's mean training loss
    exceeds `DIVERGED_FACTOR` times ln(classes). The training loss is checked whenever `on_batch` is due.
    """
    train, batch_size = splits.train, conf.training.batch_size
    device = train.labels_b.device
    starts = range(0, len(train) - 1, batch_size)  # without a last batch of one image
    training = Training(network, conf, steps_per_epoch=len(starts))
    if resume_from is not None:
        training.restore(resume_from)
    autocast = make_autocast(conf)
    guessing_loss = math.log(int(train.labels_b.max()) + 1)

    for epoch in range(training.epoch + 1, conf.training.epochs + 1):
        started = time.perf_counter()
        network.train()
        training.average.restore()
        shuffled, variations_nk = training.draw(train)
        labels_n = shuffled.labels_b  # once: it selects the labels of all images
        means = _RunningMeans(device)
        lr = math.nan
        batches = zip(starts, _batches(shuffled, variations_nk, conf, starts), strict=True)
        for step, (start, pixels_bchw) in enumerate(batches, 1):
            labels_b = labels_n[start : start + batch_size]
            with autocast:
                logits_bk = network(pixels_bchw).float()
            loss = F.cross_entropy(logits_bk, labels_b, label_smoothing=conf.training.label_smoothing)
            training.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            lr = training.optimizer.step()
            training.average.update()
            means.add(loss.detach(), logits_bk.detach(), labels_b)
            # On a GPU, reading the loss waits for all queued work: it is read only at the end of the epoch.
            if device.type == "cpu" and step % PROGRESS_EVERY == 0:
                _check_finite(means.loss, epoch, conf)
                if on_batch is not None and step < len(starts):
                    on_batch(means.progress(epoch, len(train)))
        _check_finite(means.loss, epoch, conf)
        seen = means.progress(epoch, len(train))
        if on_batch is not None:
            on_batch(seen)
        if seen.loss > DIVERGED_FACTOR * guessing_loss:
            raise _diverged(epoch, conf, seen.loss)
        first = starts[: math.ceil(STATISTICS_IMAGES / batch_size)]
        training.average.apply(_batches(shuffled, variations_nk, conf, first), autocast=autocast)
        score = evaluate(network, splits.validation, autocast=autocast)
        _check_validation(score, splits, epoch, conf)
        changed = training.complete(score.predicted_n == splits.validation.labels_b)
        if on_score is not None:
            on_score(score)
        if on_state is not None:
            on_state(training.state())
        yield EpochRecord(
            epoch=epoch,
            train_loss=seen.loss,
            train_accuracy=seen.accuracy,
            val_loss=score.loss,
            val_accuracy=score.accuracy,
            lr=lr,
            seconds=time.perf_counter() - started,
            images_per_second=seen.images_per_second,
            val_changed=changed,
        )


def make_autocast(conf: ExperimentConf) -> torch.autocast:
    """Make the autocast context of a resolved config: bfloat16 for `precision=bf16`, otherwise disabled."""
    return torch.autocast(conf.device, dtype=torch.bfloat16, enabled=conf.precision == "bf16")


def _batches(images: LabelledImages, variations_nk: Tensor, conf: ExperimentConf, starts: range) -> Iterator[Tensor]:
    """Yield the batches of training images from each of `starts` on, augmented and normalized."""
    for start in starts:
        stop = start + conf.training.batch_size
        pixels_bchw = augment(images.pixels(start, stop), conf.augment, variations_nk[start:stop])
        yield images.normalise_(pixels_bchw).contiguous(memory_format=torch.channels_last)


class _RunningMeans:
    """Running sums of an epoch. They stay on the device, because reading one waits for all queued work."""

    def __init__(self, device: torch.device) -> None:
        self.images = 0
        self.started = time.perf_counter()
        self.loss = torch.zeros((), device=device)
        self.correct = torch.zeros((), dtype=torch.int64, device=device)

    def add(self, loss: Tensor, logits_bk: Tensor, labels_b: Tensor) -> None:
        self.images += len(labels_b)
        self.loss += loss * len(labels_b)
        self.correct += (logits_bk.argmax(1) == labels_b).sum()

    def progress(self, epoch: int, total: int) -> BatchProgress:
        return BatchProgress(
            epoch=epoch,
            images=self.images,
            images_total=total,
            loss=self.loss.item() / self.images,
            accuracy=self.correct.item() / self.images,
            images_per_second=self.images / (time.perf_counter() - self.started),
        )


def _check_finite(loss: Tensor, epoch: int, conf: ExperimentConf) -> None:
    if not math.isfinite(loss.item()):
        raise _diverged(epoch, conf, loss.item())


def _check_validation(score: Score, splits: Splits, epoch: int, conf: ExperimentConf) -> None:
    if len(splits.validation) and not math.isfinite(score.loss):
        raise _diverged(epoch, conf, score.loss, rule="validation loss must stay finite")


def _diverged(epoch: int, conf: ExperimentConf, loss: float, *, rule: str | None = None) -> TrainingDivergedError:
    rule = rule or f"training loss must stay finite and below {DIVERGED_FACTOR} times that of uniform guessing"
    return TrainingDivergedError(
        f"{rule}, but in epoch {epoch} it is {loss:.4g} with optimizer.lr={conf.optimizer.lr:g}: lower the learning rate"
    )
