"""The rules of a run's epochs: a last epoch worse than the best, accuracy that varies, accuracy that still rises.

The noise of two epochs is that of two networks on the same images: see `sweeper.report.noise.epoch_noise`. How often each
rule fires by chance and how small an effect it finds is simulated in tests/test_epoch_rules.py.
"""

import math
from collections.abc import Iterator
from typing import Final

from sweeper.report.noise import epoch_noise
from sweeper.report.observation import Observation
from sweeper.report.record import RunRecord
from sweeper.report.suggestions import SEEDS
from sweeper.statistics import spread_around_trend, standard_error
from sweeper.terminal.formats import percent, points

LAST_EPOCHS: Final = 5
"""Number of epochs that count as the end of a run."""
SPREAD_95: Final = 1.614
"""Upper limit, in standard errors, of the spread of pure noise around a line through `LAST_EPOCHS`, in 95 of 100 cases:
the root of 7.815 / 3, where 7.815 is the 95 % quantile of chi-square with three degrees of freedom."""
HIGH_LR: Final = 0.1
"""Fraction of its peak above which the last learning rate counts as high."""
STEADY: Final = 3
"""Number of epochs in a row that must fall for a fall to count as steady."""


def decline(record: RunRecord) -> Iterator[Observation]:
    """The last epoch is worse than the best by more than noise: the learning rate is too high, or the network over-fits.

    They are told apart by the last weights' accuracy on training images. Below the best epoch's validation accuracy,
    those weights have forgotten what the network knew: ``collapse``. Otherwise only validation images got worse:
    ``decline``.

    Measured for ``collapse``: MNIST, 10,000 training images, model=compact, 6 epochs, a constant 0.3: seeds 1 and 2 ended at
    84.6 and 94.3 % after a best epoch of 96.0 and 97.1 %; seed 1 ended at 98.4 % with onecycle at the same peak, and at
    94.9 % with a wider network. On 3,000 digits of mnist5k, 8 epochs, batches of 64, mean of seeds 1 to 3: constant 93.8 %,
    wider 93.5 %, onecycle 98.1 %. Nothing was measured on runs that show ``decline``: augmentation, which helped
    over-fitted runs (see `sweeper.report.analysis`), is proposed, and to a run that has it other seeds.
    """
    if record.result is None or record.best is record.epochs[-1]:
        return
    best, last, train = record.best, record.epochs[-1], record.result.train_accuracy_eval
    drop = best.val_accuracy - last.val_accuracy
    noise = epoch_noise(record, best, last, chances=len(record.epochs) - 1)
    if noise.covers(drop):
        return
    falling = _falling(record)
    when = f"in each of the last {falling} epochs" if falling >= STEADY else f"after epoch {best.epoch}"
    fell = (
        f"{record.evaluated_on.capitalize()} accuracy fell {when}, from {percent(best.val_accuracy)} to "
        f"{percent(last.val_accuracy)}: {points(drop)}; up to {points(noise.size)} would be noise."
    )
    evidence = {
        "best_val_accuracy": best.val_accuracy,
        "val_accuracy": last.val_accuracy,
        "train_accuracy_eval": train,
        "noise": noise.size,
        "lr": last.lr,
    }
    if train >= best.val_accuracy:
        yield Observation(
            rule="decline",
            text=f"{fell} Training accuracy with dropout off is {percent(train)}: the network over-fits.",
            evidence=evidence,
            command=record.command("augment=affine")
            if record.conf.augment.name == "none"
            else record.command(SEEDS, sweep=True),
        )
        return
    command = record.command(*_gentler(record))
    yield Observation(
        rule="collapse",
        text=f"{fell} The same weights have only {percent(train)} on training images with dropout off, so the network is "
        f"neither over-fitted nor too small: the learning rate is too high{_at_the_end(record)}.",
        evidence=evidence,
        command=command,
    )


def oscillation(record: RunRecord) -> Iterator[Observation]:
    """The last epochs vary around their trend by more than noise, at a learning rate that is still high.

    Where the rate has been lowered, the last epoch does not depend on how earlier ones varied, and the rule is silent.
    Measured: see `decline`. The runs on MNIST at a constant rate vary by 13 and 14 points, and onecycle ends higher.
    """
    last = record.epochs[-LAST_EPOCHS:]
    if record.result is None or len(last) < LAST_EPOCHS or not is_lr_high(record) or any(decline(record)):
        return
    accuracies = [epoch.val_accuracy for epoch in last]
    spread = spread_around_trend(accuracies)
    changed = [epoch.val_changed for epoch in last[1:]]
    known = [count for count in changed if count is not None]
    # Two independent epochs differ in as many images as change in a step: each has half the step's variance.
    error = (
        math.sqrt(sum(known) / len(known) / 2) / record.images
        if len(known) == len(changed)
        else standard_error(sum(accuracies) / len(accuracies), record.images)
    )
    noise = SPREAD_95 * error
    if spread <= noise:
        return
    yield Observation(
        rule="oscillation",
        text=f"In the last {len(last)} epochs {record.evaluated_on} accuracy varies by {spread * 100:.2f} points "
        f"(root mean square) around its trend, between {percent(min(accuracies))} and {percent(max(accuracies))}; up to "
        f"{noise * 100:.2f} would be noise. The learning rate is too high{_at_the_end(record)}.",
        evidence={"spread": spread, "noise": noise, "lr": last[-1].lr},
        command=record.command(*_gentler(record)),
    )


def still_improving(record: RunRecord) -> Iterator[Observation]:
    """The last epoch is the best, and better than the one before by more than noise.

    Measured on 3,000 digits of mnist5k, model=quick, mean of seeds 1 to 3: 98.1 % with 20 epochs, 97.7 % with 10.
    """
    # A run that was stopped was still improving, of course.
    is_stopped = record.result is None or record.result.timed_out
    if is_stopped or len(record.epochs) < 2 or record.best is not record.epochs[-1]:
        return
    before, last = record.epochs[-2:]
    gain, noise = last.val_accuracy - before.val_accuracy, epoch_noise(record, before, last)
    if noise.covers(gain):
        return
    yield Observation(
        rule="still_improving",
        text=f"The run was still improving when it stopped: the last epoch went from {percent(before.val_accuracy)} to "
        f"{percent(last.val_accuracy)}, {points(gain)}; up to {points(noise.size)} would be noise.",
        evidence={"gain": gain, "noise": noise.size},
        command=record.command(f"training.epochs={2 * record.conf.training.epochs}"),
    )


def is_lr_high(record: RunRecord) -> bool:
    """Whether the run ended at a learning rate not far below its peak."""
    return record.epochs[-1].lr > HIGH_LR * record.conf.optimizer.lr


def _falling(record: RunRecord) -> int:
    """Return in how many epochs in a row, up to the last, accuracy fell."""
    accuracies = [epoch.val_accuracy for epoch in record.epochs]
    count = 0
    while count + 1 < len(accuracies) and accuracies[-count - 1] < accuracies[-count - 2]:
        count += 1
    return count


def _at_the_end(record: RunRecord) -> str:
    lr, peak = record.epochs[-1].lr, record.conf.optimizer.lr
    return f" at the end of the run, {lr:.2g}, {percent(lr / peak, 0)} of its peak" if is_lr_high(record) else ""


def _gentler(record: RunRecord) -> tuple[str, ...]:
    """Return the change that ends a run at a low learning rate, or if it does already, one that halves the peak."""
    if is_lr_high(record) and record.conf.scheduler.name != "onecycle":
        return ("scheduler=onecycle",)
    return (f"optimizer.lr={record.conf.optimizer.lr / 2:g}",)
