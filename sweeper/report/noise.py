"""Decides the noise of a run's accuracy: alone, against another run, and between two of its epochs."""

import math

from sweeper.records import TRAIN_EVAL_IMAGES, EpochRecord
from sweeper.report.record import RunRecord
from sweeper.run.pairing import runs_noise
from sweeper.statistics import CONFIDENCE_95, Noise, difference_noise, standard_error


def noise(record: RunRecord) -> float:
    """Return half the width of the 95 % confidence interval of a run's last accuracy, a fraction."""
    return CONFIDENCE_95 * standard_error(record.value, record.images)


def pair_noise(first: RunRecord, second: RunRecord, *, fewest: int | None = None, chances: int = 1) -> Noise:
    """Return the noise of the difference of two runs, paired if both validated on the same images and saved which.

    `fewest` is the number of images if it is not that of these two; `chances` is that of `difference_noise`.
    """
    is_same = _images(first) == _images(second)
    mistakes = (first.mistakes, second.mistakes) if is_same else (None, None)
    images = min(first.images, second.images) if fewest is None else fewest
    return runs_noise((first.value, second.value), mistakes, images, chances=chances)


def epoch_noise(record: RunRecord, first: EpochRecord, last: EpochRecord, *, chances: int = 1) -> Noise:
    """Return the noise of the difference of two epochs of a run, paired if it saved what changed between them.

    Between epochs that are not neighbours, at most as many images differ as changed in all steps together, and at most
    as many as the two have wrong together. The smaller bound is taken, so their noise errs toward noise.
    """
    steps = [epoch.val_changed for epoch in record.epochs if first.epoch < epoch.epoch <= last.epoch]
    known = [count for count in steps if count is not None]
    wrong = sum(round((1 - epoch.val_accuracy) * record.images) for epoch in (first, last))
    discordant = min(sum(known), wrong) if len(known) == len(steps) else None
    return difference_noise(
        first.val_accuracy, last.val_accuracy, record.images, discordant=discordant, chances=chances
    )


def generalization_noise(record: RunRecord) -> Noise:
    """Return the noise of the difference of training accuracy with dropout off and validation accuracy.

    They are measured on different images, so their errors are independent. Needs a result.
    """
    assert record.result is not None
    train, images = record.result.train_accuracy_eval, min(TRAIN_EVAL_IMAGES, record.result.data.train_images)
    errors = standard_error(train, images), standard_error(record.value, record.images)
    return Noise(size=CONFIDENCE_95 * math.hypot(*errors), is_paired=False)


def _images(record: RunRecord) -> tuple[object, ...]:
    """Return what decides which images a run was validated on."""
    data, checksum = record.conf.data, "" if record.result is None else record.result.data.sha256
    is_split = data.validation != "test"
    return data.name, checksum, data.validation, is_split and (data.validation_size, data.split_seed)
