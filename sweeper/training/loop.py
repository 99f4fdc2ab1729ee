"""The training loop: epochs as a stream of `EpochRecord`. Who watches, stops or writes is not its business."""

import math
import time
from collections.abc import Callable, Iterator
from typing import Final

import torch
import torch.nn.functional as F  # noqa: N812 - its name everywhere
from torch import Tensor, nn

from sweeper.config.schema import ExperimentConf, TrainingConf
from sweeper.data.augment import augment, draw_variations
from sweeper.data.splits import Splits
from sweeper.errors import ConfigError, TrainingDivergedError
from sweeper.records import BatchProgress, EpochRecord
from sweeper.training.evaluate import Score, evaluate
from sweeper.training.optim import Optimizer

WATCH_EVERY: Final = 20
"""Steps between two looks at the running loss: seldom enough to cost nothing, often enough for a smooth bar."""
DIVERGED_FACTOR: Final = 10
"""An epoch whose mean loss is this many times that of a uniform guess has diverged, though it be finite."""


def fit(
    network: nn.Module,
    splits: Splits,
    conf: ExperimentConf,
    *,
    on_batch: Callable[[BatchProgress], None] | None = None,
    on_score: Callable[[Score], None] | None = None,
) -> Iterator[EpochRecord]:
    """Train the network in place, one `EpochRecord` per epoch, as it ends.

    `on_batch` hears every few steps, `on_score` how each validation image was judged, an epoch at a time.

    `conf` must be resolved, the network and the splits on its device. The order of images and their augmentation
    come from generators of their own, seeded by `conf.seed`; dropout draws from torch's global one.

    Raises `TrainingDivergedError` within an epoch whose loss is no longer finite or far above guessing.
    """
    train, training = splits.train, conf.training
    device = train.labels_b.device
    starts = _batch_starts(len(train), training.batch_size)
    optimizer = Optimizer(conf.optimizer, conf.scheduler, network, epochs=training.epochs, steps_per_epoch=len(starts))
    order = torch.Generator().manual_seed(conf.seed)
    variation = torch.Generator().manual_seed(conf.seed)
    autocast = make_autocast(conf)
    classes_loss = math.log(int(train.labels_b.max()) + 1)

    for epoch in range(1, training.epochs + 1):
        started = time.perf_counter()
        network.train()
        shuffled = train.take(torch.randperm(len(train), generator=order).to(device))
        draws_n4 = draw_variations(len(train), conf.augment, variation).to(device)
        tally = _Tally(device)
        lr = math.nan
        for step, start in enumerate(starts, 1):
            stop = start + training.batch_size
            labels_b = shuffled.labels_b[start:stop]
            pixels_bchw = augment(shuffled.pixels(start, stop), conf.augment, draws_n4[start:stop])
            pixels_bchw = shuffled.normalise_(pixels_bchw)
            with autocast:
                logits_bk = network(pixels_bchw.contiguous(memory_format=torch.channels_last)).float()
            loss = F.cross_entropy(logits_bk, labels_b, label_smoothing=training.label_smoothing)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            lr = optimizer.step()
            tally.add(loss.detach(), logits_bk.detach(), labels_b)
            # Elsewhere a look would wait for all that is queued on the device: there, only at the epoch's end.
            if device.type == "cpu" and step % WATCH_EVERY == 0:
                _check_finite(tally.loss, epoch, conf)
                if on_batch is not None and step < len(starts):
                    on_batch(tally.progress(epoch, len(train)))
        _check_finite(tally.loss, epoch, conf)
        seen = tally.progress(epoch, len(train))
        if on_batch is not None:
            on_batch(seen)
        if seen.loss > DIVERGED_FACTOR * classes_loss:
            raise _diverged(epoch, conf, seen.loss)
        score = evaluate(network, splits.validation, autocast=autocast)
        if not math.isfinite(score.loss):
            raise _diverged(epoch, conf, score.loss)
        if on_score is not None:
            on_score(score)
        yield EpochRecord(
            epoch=epoch,
            train_loss=seen.loss,
            train_accuracy=seen.accuracy,
            val_loss=score.loss,
            val_accuracy=score.accuracy,
            lr=lr,
            seconds=time.perf_counter() - started,
            images_per_second=seen.images_per_second,
        )


def check_batch_size(conf: TrainingConf, images: int) -> None:
    """Raise `ConfigError` for a batch larger than the training images: it would be one step per epoch, unasked."""
    if conf.batch_size > images:
        raise ConfigError(
            f"training.batch_size must be at most the {images:,} training images, but got {conf.batch_size}"
        )


def make_autocast(conf: ExperimentConf) -> torch.autocast:
    """Make the context in which the network computes: bfloat16 where it is safe, or nothing."""
    return torch.autocast(conf.device, dtype=torch.bfloat16, enabled=conf.precision == "bf16")


class _Tally:
    """Running sums of an epoch, kept on the device: reading them is what waits for it."""

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


def _batch_starts(images: int, batch_size: int) -> range:
    """Where batches begin. A last batch of one image is left out: batch normalisation cannot use it."""
    return range(0, images - 1, batch_size)


def _check_finite(loss: Tensor, epoch: int, conf: ExperimentConf) -> None:
    if not math.isfinite(loss.item()):
        raise _diverged(epoch, conf, loss.item())


def _diverged(epoch: int, conf: ExperimentConf, loss: float) -> TrainingDivergedError:
    return TrainingDivergedError(
        f"training loss must stay finite and near that of guessing, but in epoch {epoch} it is {loss:.4g} "
        f"with optimizer.lr={conf.optimizer.lr:g}: lower it"
    )
